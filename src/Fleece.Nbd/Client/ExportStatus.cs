// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <content>What the server tells of ranges without reading them.</content>
public sealed partial class NbdNode
{
    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (lengthBytes == 0)
        {
            return default;
        }

        if (!_export.AllocationContext.HasValue)
        {
            return new BlockStatusRun(BlockStatus.Data, lengthBytes);
        }

        BlockRange range = new(offsetBytes, lengthBytes);
        ExtentRuns runs = _extents.Recall() is { Allocation: { } known } && known.Holds(offsetBytes)
            ? known
            : (await QueryAsync(range, cancellationToken).ConfigureAwait(false)).Allocation!;
        (long endBytes, ulong flags) = runs.Find(offsetBytes);
        BlockStatus status = (AllocationFlags)flags switch
        {
            var some when (some & AllocationFlags.Zero) == 0 => BlockStatus.Data,
            var some when (some & AllocationFlags.Hole) == 0 => BlockStatus.Zero,
            _ => BlockStatus.Unallocated,
        };
        return Cut(range, endBytes, isCautious: status == BlockStatus.Data) is long cutBytes and not 0
            ? new BlockStatusRun(status, cutBytes)
            : new BlockStatusRun(BlockStatus.Data, Geometry.RequestAlignmentBytes);
    }

    /// <summary>Whether the bytes at an offset may be read, or why not, where the server serves a snapshot of which parts are denied or
    /// consumed.</summary>
    /// <param name="offsetBytes">Start of the range.</param>
    /// <param name="lengthBytes">Length of the range, at least 1.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The answer, none of the flags for what can be read, and for how many bytes it holds: 1 to the whole range. Without
    /// <see cref="HasAccessContext"/> all is readable.</returns>
    /// <exception cref="BlockException">As for <see cref="GetStatusAsync"/>.</exception>
    public async ValueTask<(AccessFlags Refusal, long LengthBytes)> GetAccessAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (lengthBytes == 0 || !HasAccessContext)
        {
            return (AccessFlags.None, lengthBytes);
        }

        BlockRange range = new(offsetBytes, lengthBytes);
        ExtentRuns runs = _extents.Recall() is { Access: { } known } && known.Holds(offsetBytes)
            ? known
            : (await QueryAsync(range, cancellationToken).ConfigureAwait(false)).Access!;
        (long endBytes, ulong flags) = runs.Find(offsetBytes);
        AccessFlags refusal = (AccessFlags)flags & (AccessFlags.Denied | AccessFlags.Consumed);

        // A block of which a part is refused was not left out from the start, so that a backup without it is noticed.
        return Cut(range, endBytes, isCautious: refusal != AccessFlags.None) is long cutBytes and not 0
            ? (refusal, cutBytes)
            : (AccessFlags.Consumed, Geometry.RequestAlignmentBytes);
    }

    /// <summary>Length of a run within what was asked, in whole blocks.</summary>
    /// <remarks>Servers tell boundaries within a block now and then. The cautious answer, data or refused, holds for all of a block
    /// then; the other one ends before it, which may leave nothing.</remarks>
    private long Cut(BlockRange range, long endBytes, bool isCautious)
    {
        long maskBytes = Geometry.RequestAlignmentBytes - 1;
        long lengthBytes = Math.Min(endBytes, range.EndBytes) - range.OffsetBytes;
        return (isCautious ? lengthBytes + maskBytes : lengthBytes) & ~maskBytes;
    }

    private async ValueTask<StatusReply> QueryAsync(BlockRange range, CancellationToken cancellationToken)
    {
        long generation = _extents.Generation;
        StatusReply reply = new(new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, _export.MaximumRangeBytes)));
        NbdRequest request = _requests.Rent();
        request.Describe(NbdCommand.BlockStatus, CommandFlags.None, reply.Asked.OffsetBytes, reply.Asked.LengthBytes, forgets: null);
        request.Status = reply;
        await request.StartAsync(_connections, cancellationToken).ConfigureAwait(false);
        _extents.Remember(reply, generation);
        return reply;
    }
}
