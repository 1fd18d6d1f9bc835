// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Block.Tests;

/// <summary>The double that demands alignment, over memory: it shows that the suite itself keeps to it.</summary>
public sealed class AlignedNodeConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(new AlignedNode(new MemoryNode(lengthBytes), alignmentBytes: 4096));
}
