// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Block.Tests.Memory;

public sealed class MemoryNodeConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) => new(new MemoryNode(lengthBytes));
}
