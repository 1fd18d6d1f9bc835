// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Writes to storage most of whose answers are quick.</summary>
public sealed class SlowWriteTests
{
    private const int Bytes = 512;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task A_write_is_answered_beside_one_that_waits_where_the_client_had_several_under_way()
    {
        using WaitingNode node = new();
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();

        // They come in one receive, and the first one waits for long.
        client.Send([.. new ulong[] { 1, 2, 3 }.SelectMany(number => Packet.Write(HeaderMode.Simple, number, 0, new byte[Bytes]))]);
        client.ReadAnswers(3);
        ulong waiting = client.BeginWrite(WaitingNode.WaitingOffset, new byte[Bytes]);
        Assert.True(node.HasCome.Wait(Patience, TestContext.Current.CancellationToken));

        ulong quick = client.BeginWrite(0, new byte[Bytes]);

        Assert.Equal(quick, client.ReadAnswer().Cookie);
        node.MayEnd.Set();
        Assert.Equal(waiting, client.ReadAnswer().Cookie);
    }

    /// <summary>A disk whose first write takes long, and whose write to one place ends when it may.</summary>
    private sealed class WaitingNode() : BlockingNode(new MemoryNode(65536)), IDisposable
    {
        public const int WaitingOffset = 4096;

        private int _writeCount;

        public ManualResetEventSlim HasCome { get; } = new();

        public ManualResetEventSlim MayEnd { get; } = new();

        public void Dispose()
        {
            HasCome.Dispose();
            MayEnd.Dispose();
        }

        protected override void Block(BlockOperationKind kind, BlockRange range)
        {
            if (kind != BlockOperationKind.Write)
            {
                return;
            }

            if (Interlocked.Increment(ref _writeCount) == 1)
            {
                Thread.Sleep(20);
            }

            if (range.OffsetBytes == WaitingOffset)
            {
                HasCome.Set();
                MayEnd.Wait(Patience, CancellationToken.None);
            }
        }
    }
}
