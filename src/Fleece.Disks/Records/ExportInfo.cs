// SPDX-License-Identifier: MIT
using Fleece.Disks.Exports;
using Fleece.Nbd;

namespace Fleece.Disks.Records;

/// <summary>A published disk as it was when it was asked for.</summary>
public sealed record ExportInfo
{
    // For a record that comes from a host.
    private ExportInfo()
    {
    }

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
    public string Disk { get; private init; } = string.Empty;

    /// <summary>The export's name.</summary>
    public string Name { get; private init; } = string.Empty;

    /// <summary>The address that clients use for the disk; a snapshot's has "/SESSION" behind the name, a consumer's
    /// "/SESSION/CONSUMER".</summary>
    public NbdUri Uri { get; private init; } = null!;

    /// <summary>True when clients can't write, nor discard snapshots.</summary>
    public bool IsReadOnly { get; private init; }

    /// <summary>True when only snapshots are offered.</summary>
    public bool IsSnapshotOnly { get; private init; }

    /// <summary>The addresses that clients could use: the disk and the snapshots of its running sessions.</summary>
    public IReadOnlyList<NbdUri> Uris { get; private init; } = RecordList<NbdUri>.Empty;

    /// <summary>Clients that used the disk or one of its snapshots.</summary>
    public int ConnectionCount { get; private init; }

    /// <summary>Clients that used the disk itself.</summary>
    public int GuestCount { get; private init; }

    /// <summary>The identity of this export; another one when the disk is published again.</summary>
    public Guid ExportId { get; private init; }

    /// <summary>The identity of the disk's mount.</summary>
    public Guid MountId { get; private init; }

    /// <summary>The address, as text.</summary>
    public override string ToString() => Uri.ToString();
}
