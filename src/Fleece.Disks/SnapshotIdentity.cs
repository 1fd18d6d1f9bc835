// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Storage;

namespace Fleece.Disks;

/// <summary>What ties backups of one disk together: which instant a snapshot shows, and which one it counts from.</summary>
/// <param name="Id">The instant. It becomes the identity of the backup that shows it.</param>
/// <param name="DiskName">The disk.</param>
/// <param name="SessionId">The session, "DISK/NAME"; the address of what has none.</param>
/// <param name="BitmapName">The bitmap that the session pinned; null for none.</param>
/// <param name="BaselineId">The instant that the bitmap counts from; null when the snapshot shows the whole disk.</param>
/// <param name="Ranges">What the snapshot was limited to when it began; null for the whole disk.</param>
internal sealed record SnapshotIdentity(
    Guid Id, string DiskName, string SessionId, string? BitmapName, Guid? BaselineId, IReadOnlyList<BlockRange>? Ranges)
{
    /// <summary>The bitmap that the session pinned, printable; null for none.</summary>
    public string? BitmapName { get; init; } = PrintableText.Of(BitmapName);

    /// <summary>True when others write to the disk past the session, so that the snapshot may show several moments.</summary>
    public bool IsShared { get; init; }

    /// <summary>True for a live disk that is read while it changes; <see cref="IsShared"/> is true then too.</summary>
    public bool IsLive { get; init; }

    /// <summary>The identity of a snapshot; a new one for what does not tell its own.</summary>
    /// <param name="source">The snapshot.</param>
    /// <param name="diskName">The disk that the user says it is of; null for none.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.BackupForeign"/>: it tells that it is of another disk.
    /// <see cref="BlockErrors.InvalidArgument"/>: the user's name can't be one.</exception>
    public static SnapshotIdentity Of(ISnapshotSource source, string? diskName = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (diskName is not null)
        {
            ObjectNames.Check(diskName, "-Disk");
        }

        if (source.Identity is not { } identity)
        {
            string name = diskName ?? StorageAddress.NameOf(source.Id);
            return new SnapshotIdentity(Guid.NewGuid(), name, source.Id, BitmapName: null, BaselineId: null, Ranges: null);
        }

        return diskName is null || string.Equals(diskName, identity.DiskName, StringComparison.OrdinalIgnoreCase)
            ? identity
            : throw new BlockException(
                DiskErrors.BackupForeign,
                $"'{source.Id}' is of the disk '{identity.DiskName}', and -Disk says '{diskName}'. Leave -Disk out, or read a snapshot " +
                $"of '{diskName}'.",
                source.Id);
    }
}
