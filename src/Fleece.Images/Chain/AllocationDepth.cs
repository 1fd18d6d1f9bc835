// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Chain;

/// <summary>A run of a disk that one image of its chain decides.</summary>
/// <param name="Depth">1 for the image itself, 2 for its parent, and so on; 0 where no image of the chain stores anything.</param>
/// <param name="LengthBytes">At least 1, at most the length asked for.</param>
internal readonly record struct DepthRun(int Depth, long LengthBytes);

/// <summary>Tells which image of a chain the bytes of a range come from, as QEMU counts (nbd.rst, "qemu:allocation-depth").</summary>
/// <remarks>
/// <para>A cluster that a qcow2 image says reads as zeros is that image's; one that it does not store is its parent's. A format
/// without such a hole (raw, an export, a VHD or VHDX without a parent) decides all of its disk, sparse or not. The range behind the
/// end of a parent belongs to that parent.</para>
/// <para>Threading. Safe from any thread while the image is open.</para>
/// </remarks>
internal static class AllocationDepth
{
    /// <summary>The run that starts at an offset; callers loop to walk a range.</summary>
    /// <param name="image">A node that <see cref="Image.OpenAsync"/> gave, with no filter over it.</param>
    /// <param name="format">Its format; null for an export, whose server does not tell of its images.</param>
    /// <param name="offsetBytes">Within the disk.</param>
    /// <param name="lengthBytes">At least 1, within the disk.</param>
    /// <param name="cancellationToken">Ends the question.</param>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    public static async ValueTask<DepthRun> FindAsync(
        IBlockNode image, ImageFormat? format, long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(image);
        if (format is null or ImageFormat.Raw)
        {
            return new DepthRun(1, lengthBytes);
        }

        if (image is IImageLayer layer)
        {
            return layer.GetDepth(offsetBytes, lengthBytes);
        }

        if (image is ImageOnThreads onThreads)
        {
            return await onThreads.FindDepthAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        }

        // A format that an adapter reads has no parents here.
        BlockStatusRun run = await image.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        return new DepthRun(run.Status == BlockStatus.Unallocated ? 0 : 1, run.LengthBytes);
    }
}
