// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Nbd;

namespace Fleece.Hosting.Local;

/// <summary>Finds the live thing that a reference means. A record of an earlier one is told from a name that nothing has.</summary>
internal static class ReferencedThings
{
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskUnknown"/> or <see cref="DiskErrors.RecordStale"/>.</exception>
    public static Disk Find(this MountedDisks disks, DiskReference reference)
    {
        CheckIsName(reference.Name, DiskErrors.DiskUnknown, RecordKind.Disk);
        Disk disk = disks.Find(reference.Name);
        return reference.MountId is null || reference.MountId == disk.MountId ? disk : throw Stale(
            (reference.Kind == RecordKind.Disk
                ? $"The record of the disk '{reference.Name}' is of an earlier mount"
                : $"The record of the {Noun(reference.Kind)} is of an earlier mount of its disk '{reference.Name}'") +
            $"; the disk was dismounted, and mounted again, since. Get the record anew with Get-Fleece{reference.Kind}, or give the name.");
    }

    /// <exception cref="BlockException"><see cref="DiskErrors.RecordStale"/>: the session of that name is another one.</exception>
    public static void Check(this SessionReference reference, Guid found)
    {
        if (reference.InstantId is { } instantId && instantId != found)
        {
            throw Stale(
                $"The record of the session '{reference.Name}' is of one that has ended; the session of that name is a newer one, of " +
                "another instant. Get the record anew with Get-FleeceSession, or give the name.");
        }
    }

    /// <exception cref="BlockException"><see cref="DiskErrors.RecordStale"/>: it is a record of another disk, of an earlier mount or of
    /// an earlier bitmap; <see cref="DiskErrors.BitmapUnknown"/>: nothing has a record's name any more.</exception>
    public static string NameOn(this BitmapReference reference, Disk disk)
    {
        if ((reference.MountId ?? disk.MountId) != disk.MountId ||
            !string.Equals(reference.Disk ?? disk.Name, disk.Name, StringComparison.OrdinalIgnoreCase))
        {
            throw Stale(
                $"The record of the bitmap '{reference.Name}' is not of the disk '{disk.Name}' as it is mounted: it is of another disk, " +
                "or of an earlier mount. Get the record anew with Get-FleeceBitmap, or give the name.");
        }

        return reference.BitmapId is not { } id || id == disk.Bitmaps.Find(reference.Name).Id ? reference.Name : throw Stale(
            $"The record of the bitmap '{reference.Name}' of the disk '{disk.Name}' is of one that was removed; the bitmap of that name " +
            "is a newer one. Get the record anew with Get-FleeceBitmap, or give the name.");
    }

    /// <exception cref="BlockException"><see cref="NbdErrors.ExportUnknown"/> or <see cref="DiskErrors.RecordStale"/>.</exception>
    public static DiskExport Find(this PublishedExports exports, ExportReference reference)
    {
        DiskExport[] named = [.. exports.All.Where(export => export.Name == reference.Name && export.Disk.Name == reference.Disk)];
        return Array.Find(named, export => export.Id == reference.ExportId) ?? throw (named.Length == 0
            ? new BlockException(
                NbdErrors.ExportUnknown,
                $"The disk '{reference.Disk}' is not published as '{reference.Name}'. Get-FleeceExport lists the exports.")
            : Stale(
                $"The record of the export '{reference.Name}' is of one that was taken away; the disk '{reference.Disk}' was published " +
                "again since. Get the record anew with Get-FleeceExport."));
    }

    /// <summary>Refuses what lies at a record's path in place of the record's backup.</summary>
    /// <param name="reference">The backup.</param>
    /// <param name="found">What lies there; null for a repository.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.RecordStale"/></exception>
    public static void Check(this BackupReference reference, BackupPoint? found)
    {
        if (reference.Id is { } id && id != found?.Id)
        {
            throw Stale(
                $"The record of the backup '{reference.Path}' is of the instant {id}, and something else lies there now. Get the record " +
                "anew with Get-FleeceBackup, or give the path.",
                reference.Path);
        }
    }

    /// <summary>A kind in a sentence.</summary>
    public static string Noun(RecordKind kind) => kind.ToString().ToLowerInvariant();

    /// <summary>Refuses a pattern where a name is wanted. Disks and sessions have no names with wildcards, so nothing is lost.</summary>
    /// <exception cref="BlockException">Of the kind <paramref name="unknown"/>.</exception>
    public static void CheckIsName(string? name, string unknown, RecordKind kind)
    {
        if (name.AsSpan().ContainsAny('*', '?', '['))
        {
            throw new BlockException(
                unknown,
                $"No {Noun(kind)} is named '{name}', for no name has wildcards. Get-Fleece{kind} takes them: pipe what it returns.");
        }
    }

    private static BlockException Stale(string message, string? path = null) => new(DiskErrors.RecordStale, message, path);
}
