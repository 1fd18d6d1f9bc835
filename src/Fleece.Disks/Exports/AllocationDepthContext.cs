// SPDX-License-Identifier: MIT
using Fleece.Images.Chain;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary><c>qemu:allocation-depth</c> of a disk: the number of the image in its chain that stores a range, 0 for none.</summary>
internal sealed class AllocationDepthContext(Disk disk) : IStatusContext
{
    public string Name => MetaContexts.QemuAllocationDepth;

    public async ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        DepthRun run = await disk.FindDepthAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        return new StatusExtent(run.LengthBytes, (uint)run.Depth);
    }
}
