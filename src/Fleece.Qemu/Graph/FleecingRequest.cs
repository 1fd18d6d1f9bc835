// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Qemu.Guests;

namespace Fleece.Qemu.Graph;

/// <summary>How one disk of a guest is fleeced.</summary>
internal sealed record FleecingRequest
{
    /// <summary>The disk.</summary>
    public required QemuDisk Disk { get; init; }

    /// <summary>A folder, or a new file, for old data; null for a file beside the image.</summary>
    public string? TempPath { get; init; }

    /// <summary>The loser of a copy that fails.</summary>
    public CopyErrorPolicy OnCopyError { get; init; } = CopyErrorPolicy.BreakSnapshot;

    /// <summary>How long a guest's write waits for a copy; null for no limit.</summary>
    public TimeSpan? CopyTimeout { get; init; }

    /// <summary>The unit of copying; null for QEMU's, 64 KiB or more.</summary>
    public int? GranuleSizeBytes { get; init; }

    /// <summary>The bitmap, by QEMU's name, that limits the snapshot; null for the whole disk. Readers get it as a context of the export
    /// too. It does not change from the instant on.</summary>
    public string? LimitedBy { get; init; }

    /// <summary>Actions for QMP's "transaction" at the instant, before the filter is in: bitmaps take turns. A build that fails afterwards
    /// undoes them with <see cref="Bitmaps.PendingBitmaps.Fold"/>.</summary>
    public IReadOnlyList<JsonObject> AtInstant { get; init; } = [];
}

/// <summary>How all disks of a session are fleeced.</summary>
internal sealed record GraphOptions
{
    /// <summary>The NBD server of this QEMU that others have started, which serves the snapshots beside their exports; null for one of
    /// Fleece's own.</summary>
    public NbdUri? ServerUri { get; init; }

    /// <summary>The longest time that the guest's processors stand still. A guest's clock, its network peers and its watchdogs notice a
    /// longer one.</summary>
    public TimeSpan LongestPause { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>What a disk of a guest became by being fleeced.</summary>
/// <param name="Disk">The disk as it was before.</param>
/// <param name="DiskIndex">Its number in the session.</param>
/// <param name="TempPath">The file with old data.</param>
/// <param name="SnapshotUri">The export of the snapshot, at a socket of the session's own.</param>
/// <param name="ClusterSizeBytes">The unit of copying.</param>
internal sealed record FleecedDisk(QemuDisk Disk, int DiskIndex, string TempPath, NbdUri SnapshotUri, int ClusterSizeBytes);

/// <summary>The instant of a session, as the guest met it.</summary>
/// <param name="At">When it was.</param>
/// <param name="Pause">How long the guest's processors stood still; null where they did not.</param>
/// <param name="Freeze">How long its file systems were frozen; null where they were not.</param>
internal sealed record GuestInstant(DateTimeOffset At, TimeSpan? Pause, TimeSpan? Freeze);

/// <summary>What stands by while a guest is frozen or paused, and undoes both when this process dies.</summary>
internal interface IInstantGuard : IAsyncDisposable
{
    /// <summary>True where file systems are to be frozen.</summary>
    bool Freezes { get; }

    /// <summary>Freezes the guest's file systems.</summary>
    /// <exception cref="Fleece.Block.BlockException"><see cref="QemuErrors.AgentFailed"/>; they are thawed then.</exception>
    ValueTask FreezeAsync(CancellationToken cancellationToken);

    /// <summary>Thaws them. Safe where they are not frozen.</summary>
    /// <returns>False where the guard had thawed them before, because the freeze took too long: the instant may not be quiet.</returns>
    ValueTask<bool> ThawAsync();
}
