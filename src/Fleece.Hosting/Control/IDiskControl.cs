// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Hosting.Control;

/// <summary>Requests about mounted disks.</summary>
/// <remarks>The names of methods and parameters are the protocol between a host and its clients: docs/host.md says when they may change.
/// Paths are absolute.</remarks>
internal interface IDiskControl
{
    /// <summary>Opens an image as a disk and publishes it.</summary>
    ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken);

    /// <summary>All mounted disks, sorted by name.</summary>
    ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken);

    /// <summary>One disk; its name is taken as it is.</summary>
    ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken);

    /// <summary>Flushes and closes a disk.</summary>
    /// <returns>The disk as it was before.</returns>
    ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken);
}

/// <summary>Requests about sessions.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface ISessionControl
{
    /// <summary>Pins one instant on the disks.</summary>
    ValueTask<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request, CancellationToken cancellationToken);

    /// <summary>All sessions: those that run, and those that are lost and wait to be removed.</summary>
    ValueTask<IReadOnlyList<SessionInfo>> ListSessionsAsync(CancellationToken cancellationToken);

    /// <summary>One session, a lost one too; null means the only one that runs.</summary>
    ValueTask<SessionInfo> FindSessionAsync(SessionReference? session, CancellationToken cancellationToken);

    /// <summary>What readers of a session are to be told and none has been told yet; null for nothing.</summary>
    ValueTask<string?> TakeSessionWarningAsync(SessionReference session, CancellationToken cancellationToken);

    /// <summary>Ends a session.</summary>
    /// <returns>The session as it was at its end.</returns>
    ValueTask<SessionInfo> StopSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken);

    /// <summary>Takes sessions up again that a process before has left.</summary>
    /// <param name="session">One of them; null for all.</param>
    /// <param name="statePath">The absolute path of the state directory that keeps them; null for the host's own.</param>
    /// <param name="cancellationToken">Ends the request.</param>
    /// <returns>The sessions: those that run now, and those that are lost, each with the reason.</returns>
    ValueTask<IReadOnlyList<SessionInfo>> ResumeSessionsAsync(
        SessionReference? session, string? statePath, CancellationToken cancellationToken);

    /// <summary>Removes what is kept of a lost session: its old data and its log.</summary>
    /// <returns>The session as it was before; its <see cref="SessionInfo.BrokenBy"/> says what is left for the user to delete, where
    /// something is.</returns>
    ValueTask<SessionInfo> RemoveLostSessionAsync(SessionReference session, CancellationToken cancellationToken);

    /// <summary>Runs of a snapshot from an offset on: as many as fit one answer.</summary>
    /// <returns>At least one run, unless the offset is the disk's end.</returns>
    ValueTask<IReadOnlyList<Block.CopyBeforeWrite.SnapshotRun>> ListRunsAsync(
        SessionReference? session, long offsetBytes, CancellationToken cancellationToken);

    /// <summary>The first part of a range that no consumer has confirmed and all could still read; empty for none.</summary>
    ValueTask<Block.BlockRange> FindUnstoredAsync(
        SessionReference? session, Block.BlockRange range, CancellationToken cancellationToken);

    /// <summary>Where the guest's writes will need copies next: <see cref="Fleece.Disks.IAtRiskSource"/> says it.</summary>
    ValueTask<IReadOnlyList<long>> FindAtRiskAsync(SessionReference session, CancellationToken cancellationToken);

    /// <summary>Discards a range of a snapshot, or of one consumer's view of it.</summary>
    ValueTask<SessionInfo> DiscardAsync(SessionReference? session, Block.BlockRange range, CancellationToken cancellationToken);
}

/// <summary>Requests about dirty bitmaps.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IBitmapControl
{
    /// <summary>The bitmaps of a disk, sorted by name; none where the disk's bitmaps can't be used.</summary>
    ValueTask<IReadOnlyList<BitmapInfo>> ListBitmapsAsync(DiskReference disk, CancellationToken cancellationToken);

    /// <summary>One bitmap.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="bitmap">Its name, as it is stored or shown.</param>
    /// <param name="isExact">True for null where no bitmap has the name exactly, as where it may be a pattern.</param>
    /// <param name="withRanges">True for the ranges that may have changed too.</param>
    /// <param name="cancellationToken">Ends the request.</param>
    ValueTask<BitmapInfo?> FindBitmapAsync(
        DiskReference disk, BitmapReference bitmap, bool isExact, bool withRanges, CancellationToken cancellationToken);

    /// <summary>Makes a bitmap that records from now on.</summary>
    ValueTask<CreatedBitmap> CreateBitmapAsync(
        DiskReference disk, string name, long granularityBytes, bool isEnabled, CancellationToken cancellationToken);

    /// <summary>Changes a bitmap of the disk's own.</summary>
    /// <returns>The bitmap afterwards.</returns>
    ValueTask<BitmapInfo> ChangeBitmapAsync(
        DiskReference disk, BitmapReference bitmap, BitmapChange change, CancellationToken cancellationToken);

    /// <summary>Adds to a bitmap what is marked in others.</summary>
    ValueTask<BitmapInfo> MergeBitmapsAsync(
        DiskReference disk, BitmapReference target, IReadOnlyList<BitmapReference> sources, CancellationToken cancellationToken);
}

/// <summary>Requests about exports.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IExportControl
{
    /// <summary>Publishes a disk; clients can connect when this returns.</summary>
    ValueTask<ExportInfo> PublishAsync(DiskReference disk, ListenRequest request, CancellationToken cancellationToken);

    /// <summary>All exports, in the order they were published.</summary>
    ValueTask<IReadOnlyList<ExportInfo>> ListExportsAsync(CancellationToken cancellationToken);

    /// <summary>Takes an export away; the disk stays mounted.</summary>
    /// <returns>The export as it was before.</returns>
    ValueTask<ExportInfo> UnpublishAsync(ExportReference export, bool isForced, CancellationToken cancellationToken);
}
