// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Contexts;

/// <summary><c>base:allocation</c> of a snapshot.</summary>
/// <remarks>
/// What can't be read answers as a hole that does not read as zeros (flag 1), so that a client can walk the whole map and
/// still won't take it for zeros: a read there is refused.
/// </remarks>
internal sealed class SnapshotAllocationContext(BlockDevice snapshot, ISnapshotMap access) : IStatusContext
{
    private readonly AllocationContext _readable = new(snapshot);

    public string Name => MetaContexts.BaseAllocation;

    public ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange next = access.NextReadable(offsetBytes, offsetBytes + lengthBytes);
        if (access.State != SessionState.Active || next.OffsetBytes == offsetBytes && !next.IsEmpty)
        {
            // A session that is over answers with its error.
            return _readable.GetExtentAsync(offsetBytes, Math.Max(1, next.LengthBytes), cancellationToken);
        }

        long refusedBytes = next.IsEmpty ? lengthBytes : next.OffsetBytes - offsetBytes;
        return new ValueTask<StatusExtent>(new StatusExtent(refusedBytes, (uint)AllocationFlags.Hole));
    }
}

/// <summary><c>fleece:access</c> of a snapshot: 0 can be read, 1 was denied from the start, 2 was consumed, or is confirmed by the
/// consumer whose export this is.</summary>
internal sealed class AccessContext(BlockDevice snapshot, ISnapshotMap access) : IStatusContext
{
    public string Name => MetaContexts.FleeceAccess;

    public async ValueTask<StatusExtent> GetExtentAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        if (access.State != SessionState.Active)
        {
            // Throws what explains the session's end.
            await snapshot.GetStatusAsync(offsetBytes, 1, cancellationToken).ConfigureAwait(false);
        }

        BlockRange next = access.NextReadable(offsetBytes, offsetBytes + lengthBytes);
        if (next.OffsetBytes == offsetBytes && !next.IsEmpty)
        {
            return new StatusExtent(next.LengthBytes, (uint)AccessFlags.None);
        }

        SnapshotRun run = access.GetRun(offsetBytes);
        AccessFlags refusal = run.State == SnapshotRunState.Denied ? AccessFlags.Denied : AccessFlags.Consumed;
        return new StatusExtent(Math.Min(run.LengthBytes, lengthBytes), (uint)refusal);
    }
}
