// SPDX-License-Identifier: MIT
using Fleece.Nbd;

namespace Fleece.Disks.Records;

/// <summary>A published disk as it was when it was asked for.</summary>
public sealed record ExportInfo
{
    // Made by the engine, and from what a host tells.
    internal ExportInfo()
    {
    }

    /// <summary>The disk's name.</summary>
    public string Disk { get; internal init; } = string.Empty;

    /// <summary>The export's name.</summary>
    public string Name { get; internal init; } = string.Empty;

    /// <summary>The address that clients use for the disk; a snapshot's has "/SESSION" behind the name, a consumer's
    /// "/SESSION/CONSUMER".</summary>
    public NbdUri Uri { get; internal init; } = null!;

    /// <summary>True when clients can't write, nor discard snapshots.</summary>
    public bool IsReadOnly { get; internal init; }

    /// <summary>True when only snapshots are offered.</summary>
    public bool IsSnapshotOnly { get; internal init; }

    /// <summary>The addresses that clients could use: the disk and the snapshots of its running sessions.</summary>
    public IReadOnlyList<NbdUri> Uris { get; internal init; } = RecordList<NbdUri>.Empty;

    /// <summary>Clients that used the disk or one of its snapshots.</summary>
    public int ConnectionCount { get; internal init; }

    /// <summary>Clients that used the disk itself.</summary>
    public int GuestCount { get; internal init; }

    /// <summary>The identity of this export; another one when the disk is published again.</summary>
    public Guid ExportId { get; internal init; }

    /// <summary>The identity of the disk's mount.</summary>
    public Guid MountId { get; internal init; }

    /// <summary>The address, as text.</summary>
    public override string ToString() => Uri.ToString();
}
