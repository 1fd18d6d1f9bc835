// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>The filter as the guest sees it is a disk like any other, whatever the session does.</summary>
public abstract class FilterConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;
}

public sealed class FilterOfAFullSession : FilterConformance
{
    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(new PointInTime(new MemoryNode(lengthBytes), new MemoryNode(lengthBytes), tempReadsAsZero: true).Filter);
}

public sealed class FilterOfALimitedSession : FilterConformance
{
    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) => new(new PointInTime(
        new MemoryNode(lengthBytes),
        new MemoryNode(lengthBytes),
        granuleSizeBytes: 65536,
        policy: CopyErrorPolicy.BreakGuestWrite,
        ranges: [new BlockRange(65536, 3 * 65536), new BlockRange(lengthBytes / 2, 1)]).Filter);
}

/// <summary>The first copy of it fails.</summary>
public sealed class FilterOfABreakingSession : FilterConformance
{
    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) => new(new PointInTime(
        new MemoryNode(lengthBytes),
        new FaultNode(new MemoryNode(lengthBytes)).FailWhen(operation => operation.IsChange)).Filter);
}

public sealed class FilterOverAFilter : FilterConformance
{
    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        PointInTime older = new(new MemoryNode(lengthBytes), new MemoryNode(lengthBytes), granuleSizeBytes: 512);
        return new(new PointInTime(older.Filter, new MemoryNode(lengthBytes)).Filter);
    }
}
