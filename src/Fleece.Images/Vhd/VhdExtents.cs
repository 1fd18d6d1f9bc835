// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Holes of the file system within what an image stores.</summary>
internal static class VhdExtents
{
    /// <summary>The run at the start of a range of the file: zeros where the file system has a hole, else data.</summary>
    public static BlockStatusRun Find(IContainerFile file, BlockRange range)
    {
        BlockStatusRun run = file.FindExtent(range);
        return run.Status == BlockStatus.Data ? run : run with { Status = BlockStatus.Zero };
    }
}
