// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Server.Exports;

/// <summary><c>base:allocation</c> of a device: flags 0 for data, 2 for stored zeros, 3 for a hole that reads as zeros.</summary>
/// <remarks>Source: NBD protocol, "base:allocation metadata context".</remarks>
internal sealed class AllocationContext(BlockDevice device) : IStatusContext
{
    /// <inheritdoc/>
    public string Name => MetaContexts.BaseAllocation;

    /// <inheritdoc/>
    public async ValueTask<StatusExtent> GetExtentAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockStatusRun run = await device.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        AllocationFlags flags = run.Status switch
        {
            BlockStatus.Data => AllocationFlags.None,
            BlockStatus.Zero => AllocationFlags.Zero,
            _ => AllocationFlags.Hole | AllocationFlags.Zero,
        };
        return new StatusExtent(run.LengthBytes, (uint)flags);
    }
}
