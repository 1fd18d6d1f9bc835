// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Extents;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Nbd.Client;

/// <summary>The server's answers about ranges, without reading them.</summary>
/// <remarks>Threading. Safe from any thread. Ranges have been checked, and are not empty.</remarks>
internal sealed class ExportStatus(AgreedExport export, ExportCommands commands, ExtentMemory extents)
{
    /// <summary>The status of the run that starts a range, in whole blocks.</summary>
    public async ValueTask<BlockStatusRun> GetStatusAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!export.AllocationContext.HasValue)
        {
            return new BlockStatusRun(BlockStatus.Data, range.LengthBytes);
        }

        ExtentRuns runs = extents.Recall() is { Allocation: { } known } && known.Holds(range.OffsetBytes)
            ? known
            : (await QueryAsync(range, cancellationToken).ConfigureAwait(false)).Allocation!;
        return FindStatus(runs, range);
    }

    /// <summary>As <see cref="NbdNode.AskStatusAsync"/>.</summary>
    public async ValueTask<BlockStatusRun> AskStatusAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!export.AllocationContext.HasValue)
        {
            return new BlockStatusRun(BlockStatus.Data, range.LengthBytes);
        }

        StatusReply reply = CreateReply(range);
        await commands.QueryAsync(reply, cancellationToken).ConfigureAwait(false);
        return FindStatus(reply.Allocation!, range);
    }

    private BlockStatusRun FindStatus(ExtentRuns runs, BlockRange range)
    {
        (long endBytes, ulong flags) = runs.Find(range.OffsetBytes);
        BlockStatus status = (AllocationFlags)flags switch
        {
            var some when (some & AllocationFlags.Zero) == 0 => BlockStatus.Data,
            var some when (some & AllocationFlags.Hole) == 0 => BlockStatus.Zero,
            _ => BlockStatus.Unallocated,
        };
        return Cut(range, endBytes, isCautious: status == BlockStatus.Data) is long cutBytes and not 0
            ? new BlockStatusRun(status, cutBytes)
            : new BlockStatusRun(BlockStatus.Data, export.AlignmentBytes);
    }

    /// <summary>As <see cref="NbdNode.GetAccessAsync"/>.</summary>
    public async ValueTask<(AccessFlags Refusal, long LengthBytes)> GetAccessAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!export.AccessContext.HasValue)
        {
            return (AccessFlags.None, range.LengthBytes);
        }

        ExtentRuns runs = extents.Recall() is { Access: { } known } && known.Holds(range.OffsetBytes)
            ? known
            : (await QueryAsync(range, cancellationToken).ConfigureAwait(false)).Access!;
        (long endBytes, ulong flags) = runs.Find(range.OffsetBytes);
        AccessFlags refusal = (AccessFlags)flags & (AccessFlags.Denied | AccessFlags.Consumed);

        // A block of which a part is refused was not left out from the start, so that a backup without it is noticed.
        return Cut(range, endBytes, isCautious: refusal != AccessFlags.None) is long cutBytes and not 0
            ? (refusal, cutBytes)
            : (AccessFlags.Consumed, export.AlignmentBytes);
    }

    /// <summary>As <see cref="NbdNode.GetDirtyAsync"/>.</summary>
    public async ValueTask<(bool IsDirty, long LengthBytes)> GetDirtyAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!export.DirtyContext.HasValue)
        {
            return (true, range.LengthBytes);
        }

        ExtentRuns runs = extents.Recall() is { Dirty: { } known } && known.Holds(range.OffsetBytes)
            ? known
            : (await QueryAsync(range, cancellationToken).ConfigureAwait(false)).Dirty!;
        (long endBytes, ulong flags) = runs.Find(range.OffsetBytes);
        bool isDirty = ((DirtyFlags)flags & DirtyFlags.Dirty) != 0;
        return Cut(range, endBytes, isCautious: isDirty) is long cutBytes and not 0
            ? (isDirty, cutBytes)
            : (true, export.AlignmentBytes);
    }

    /// <summary>Length of a run within the range that was asked about, in whole blocks.</summary>
    /// <remarks>Servers tell boundaries within a block now and then. The cautious answer, data or refused, holds for all of a block
    /// then; the other one ends before it, which may leave nothing.</remarks>
    private long Cut(BlockRange range, long endBytes, bool isCautious)
    {
        long maskBytes = export.AlignmentBytes - 1;
        long lengthBytes = Math.Min(endBytes, range.EndBytes) - range.OffsetBytes;
        return (isCautious ? lengthBytes + maskBytes : lengthBytes) & ~maskBytes;
    }

    private async ValueTask<StatusReply> QueryAsync(BlockRange range, CancellationToken cancellationToken)
    {
        long generation = extents.Generation;
        StatusReply reply = CreateReply(range);
        await commands.QueryAsync(reply, cancellationToken).ConfigureAwait(false);
        extents.Remember(reply, generation);
        return reply;
    }

    private StatusReply CreateReply(BlockRange range) =>
        new(new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, export.MaximumRangeBytes)));
}
