// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Qemu.Records;

/// <summary>A disk of a guest that QEMU runs, as it was when QEMU was asked.</summary>
public sealed record QemuDiskInfo
{
    /// <summary>The device's name: its id, or that of its backend or node where it has none.</summary>
    public string Device { get; init; } = string.Empty;

    /// <summary>The guest's name; null where it has none.</summary>
    public string? Guest { get; init; }

    /// <summary>The name that sessions and backups know the disk by.</summary>
    public string Name { get; init; } = string.Empty;

    /// <summary>The node under the device; null without a medium.</summary>
    public string? NodeName { get; init; }

    /// <summary>The image's format, as QEMU names its driver; null without a medium.</summary>
    public string? Format { get; init; }

    /// <summary>The image's file, or QEMU's description of its storage; null without a medium.</summary>
    public string? ImagePath { get; init; }

    /// <summary>Size of the disk in bytes; 0 without a medium.</summary>
    public long SizeBytes { get; init; }

    /// <summary>True when the guest can't write to it.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>True for a drive whose medium can be changed.</summary>
    public bool IsRemovable { get; init; }

    /// <summary>True when the guest runs; false when it is paused.</summary>
    public bool IsGuestRunning { get; init; }

    /// <summary>Why no session of it can be started; null when one can.</summary>
    public string? Obstacle { get; init; }

    /// <summary>Its dirty bitmaps.</summary>
    public IReadOnlyList<QemuBitmapInfo> Bitmaps { get; init => field = RecordList<QemuBitmapInfo>.Of(value); } =
        RecordList<QemuBitmapInfo>.Empty;

    /// <summary>QEMU's version.</summary>
    public string QemuVersion { get; init; } = string.Empty;

    /// <summary>The options for fleecing that this QEMU has, by QEMU's names, for example "on-cbw-error".</summary>
    public IReadOnlyList<string> Features { get; init => field = RecordList<string>.Of(value); } = RecordList<string>.Empty;

    /// <summary>How a filter gets under the device: "qom-set" or "blockdev-backup"; null where it can't.</summary>
    public string? InsertedBy { get; init; }

    /// <summary>The guest agent's socket, where QEMU has one for the guest; null for none.</summary>
    public string? AgentSocketPath { get; init; }

    /// <summary>The monitor's socket.</summary>
    public string QmpSocketPath { get; init; } = string.Empty;

    /// <summary>The device's name.</summary>
    public override string ToString() => Device;
}

/// <summary>A dirty bitmap of a guest's disk.</summary>
public sealed record QemuBitmapInfo
{
    /// <summary>Its name, printable, without the baseline.</summary>
    public string Name { get; init; } = string.Empty;

    /// <summary>The name that QEMU knows it by.</summary>
    public string QemuName { get; init; } = string.Empty;

    /// <summary>The instant that its bits count from; null for none.</summary>
    public Guid? BaselineId { get; init; }

    /// <summary>Bytes of the disk for one bit.</summary>
    public long GranularityBytes { get; init; }

    /// <summary>Bytes of the disk that may have changed.</summary>
    public long DirtyBytes { get; init; }

    /// <summary>True when writes mark it.</summary>
    public bool IsRecording { get; init; }

    /// <summary>True when a job, an export or a session uses it.</summary>
    public bool IsBusy { get; init; }

    /// <summary>True when the image keeps it over the end of QEMU.</summary>
    public bool IsPersistent { get; init; }

    /// <summary>True when QEMU was not ended properly while it recorded, so that it may miss changes.</summary>
    public bool IsInconsistent { get; init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
