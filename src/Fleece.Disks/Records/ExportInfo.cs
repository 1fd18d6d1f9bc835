// SPDX-License-Identifier: MIT
using Fleece.Disks.Exports;
using Fleece.Nbd;

namespace Fleece.Disks.Records;

/// <summary>A published disk as it was when it was asked for.</summary>
public sealed record ExportInfo
{
    internal ExportInfo(DiskExport export)
    {
        Disk = export.Disk.Name;
        Name = export.Name;
        Uri = export.Uri;
        IsReadOnly = export.IsReadOnly;
        IsSnapshotOnly = export.IsSnapshotOnly;
        Uris = new RecordList<NbdUri>(export.Uris);
        ConnectionCount = export.ConnectionCount;
        GuestCount = export.GuestCount;
        ExportId = export.Id;
        MountId = export.Disk.MountId;
    }

    /// <summary>The disk's name.</summary>
    public string Disk { get; }

    /// <summary>The export's name.</summary>
    public string Name { get; }

    /// <summary>The address that clients use for the disk; a snapshot's has "/SESSION" behind the name, a consumer's
    /// "/SESSION/CONSUMER".</summary>
    public NbdUri Uri { get; }

    /// <summary>True when clients can't write, nor discard snapshots.</summary>
    public bool IsReadOnly { get; }

    /// <summary>True when only snapshots are offered.</summary>
    public bool IsSnapshotOnly { get; }

    /// <summary>The addresses that clients could use: the disk and the snapshots of its running sessions.</summary>
    public IReadOnlyList<NbdUri> Uris { get; }

    /// <summary>Clients that used the disk or one of its snapshots.</summary>
    public int ConnectionCount { get; }

    /// <summary>Clients that used the disk itself.</summary>
    public int GuestCount { get; }

    /// <summary>The identity of this export; another one when the disk is published again.</summary>
    public Guid ExportId { get; }

    /// <summary>The identity of the disk's mount.</summary>
    public Guid MountId { get; }

    /// <summary>The address, as text.</summary>
    public override string ToString() => Uri.ToString();
}
