// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A disk in memory that puts a reader to sleep unless what it reads has been started.</summary>
/// <param name="lengthBytes">Size of the disk.</param>
/// <param name="mostSleeps">After so many it is as quick as memory.</param>
internal sealed class ColdNode(long lengthBytes, int mostSleeps = int.MaxValue) : BlockingNode(new MemoryNode(lengthBytes))
{
    private readonly HashSet<long> _started = [];
    private long _aheadBytes;

    public int StartedCount { get; private set; }

    public int SleptCount { get; private set; }

    public long MostAheadBytes { get; private set; }

    public override bool CanReadAhead => true;

    public override void ReadAhead(long offsetBytes, long aheadBytes)
    {
        new BlockRange(offsetBytes, aheadBytes).CheckWithin(Geometry.LengthBytes, null, "read ahead");
        StartedCount++;
        _started.Add(offsetBytes);
        _aheadBytes += aheadBytes;
        MostAheadBytes = Math.Max(MostAheadBytes, _aheadBytes);
    }

    protected override void Block(BlockOperationKind kind, BlockRange range)
    {
        if (kind != BlockOperationKind.Read)
        {
            return;
        }

        if (_started.Remove(range.OffsetBytes))
        {
            _aheadBytes -= range.LengthBytes;
        }
        else if (SleptCount < mostSleeps)
        {
            SleptCount++;
            Thread.Sleep(2);
        }
    }
}
