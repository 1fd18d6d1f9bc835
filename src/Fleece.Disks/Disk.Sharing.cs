// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Disks;

/// <content>Whether this process alone writes to the disk. Sessions and bitmaps see what goes through this mount and nothing else, so what
/// they promise holds for such a disk only.</content>
public sealed partial class Disk
{
    private readonly ExportIdentity? _export;
    private readonly bool _isSharingAccepted;

    /// <summary>True when others may write to the disk as well: it was mounted with -Shared, or from an export whose server says so,
    /// because it is a live disk there.</summary>
    public bool IsShared => _isSharingAccepted || _export is { IsTorn: true };

    /// <summary>True when nothing changes the disk for as long as it is mounted: it is read-only here, and its image is locked against
    /// writers, or its server tells that nothing changes the export.</summary>
    internal bool IsUnchanging => IsReadOnly && !IsShared && (!NbdUri.IsUri(Path) || _export is not null);

    /// <summary>Where the disk's bytes come from, the same for each snapshot of one disk of a server: the image, or the URI of the disk's
    /// export.</summary>
    internal string SourceAddress => _export?.DiskUri(NbdUri.Parse(Path)).ToString() ?? Path;

    /// <summary>Refuses what would promise a point in time, or a record of all changes, that a shared disk can't have.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.DiskShared"/>, unless the user has accepted that there is none.
    /// </exception>
    internal void CheckExclusive()
    {
        if (!IsShared || _isSharingAccepted)
        {
            return;
        }

        string rightWay = _export!.IsSnapshot
            ? $"'{Path}' is a snapshot of a disk to which others wrote while its session ran, so it shows no one moment. Start the " +
              "session in the one process through which all writes go."
            : $"'{Path}' is a live disk of another Fleece, and what others write there does not come through here. Start the session " +
              $"where the disk is served, with Start-FleeceSession, and read its snapshot: Read-FleeceSnapshot -Uri '{SnapshotUri()}'.";
        throw new BlockException(
            BlockErrorKind.DiskShared,
            $"The disk '{Name}' takes no sessions, bitmaps or backups: {rightWay} Mount-FleeceDisk -Shared allows sessions and full " +
            "backups whose point in time is not guaranteed.",
            Path);
    }

    private NbdUri SnapshotUri()
    {
        NbdUri uri = NbdUri.Parse(Path);
        return uri.WithExport($"{(uri.ExportName.Length == 0 ? _export!.DiskName : uri.ExportName)}/SESSION");
    }

    private string? NoteOnSharing() => NbdUri.IsUri(Path) && _export is null && !_isSharingAccepted
        ? $"The server of '{Path}' can't tell whether other clients write to the export. No other may while this disk has sessions or " +
          "bitmaps: snapshots would show no one moment, and bitmaps would miss changes."
        : null;
}
