// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Flushes of storage that takes its time.</summary>
public sealed class SlowFlushTests
{
    private const int Flush = (int)NbdCommand.Flush;
    private const int Read = (int)NbdCommand.Read;

    [Fact]
    public async Task A_read_is_answered_while_a_flush_runs()
    {
        using ManualResetEventSlim mayEnd = new(true);
        FlushingNode node = new(mayEnd);
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        for (int i = 0; i < 8; i++)
        {
            Assert.Equal(NbdError.None, client.Call(Flush, 0, 0).Error);
        }

        mayEnd.Reset();
        ulong flush = client.Begin(Flush, 0, 0);
        ulong read = client.Begin(Read, 0, 512);

        Assert.Equal(read, client.ReadAnswer().Cookie);
        mayEnd.Set();
        Assert.Equal(flush, client.ReadAnswer().Cookie);
        Assert.Equal(9, node.FlushCount);
    }

    /// <summary>A disk whose flush keeps its thread until it may end, and for a moment anyway.</summary>
    private sealed class FlushingNode(ManualResetEventSlim mayEnd) : BlockingNode(new MemoryNode(65536))
    {
        private int _flushCount;

        public int FlushCount => Volatile.Read(ref _flushCount);

        protected override void Block(BlockOperationKind kind, BlockRange range)
        {
            if (kind == BlockOperationKind.Flush)
            {
                Interlocked.Increment(ref _flushCount);
                Thread.Sleep(2);
                mayEnd.Wait(TimeSpan.FromMinutes(1), CancellationToken.None);
            }
        }
    }
}
