// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What it costs a client to connect.</summary>
public sealed class ConnectingTests
{
    private const int ConnectionCount = 50;

    [Fact]
    public async Task Clients_that_come_one_after_the_other_share_threads()
    {
        ThreadNotes node = new();
        await using ServedDisk disk = new(node);

        for (int i = 0; i < ConnectionCount; i++)
        {
            using (RawClient client = disk.Go())
            {
                client.ReadDisk(0, 512);
            }

            Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 0, TimeSpan.FromSeconds(30)));
        }

        // A client that is quick may meet a thread that has not done yet, but not each time.
        Assert.InRange(node.ThreadIds.Count, 1, ConnectionCount - 1);
    }

    [Fact]
    public async Task All_answers_to_an_option_leave_together()
    {
        await using ServedDisk disk = new();
        byte[] wish = Packet.Wish(
            ServedDisk.Name, (ushort)InfoType.Name, (ushort)InfoType.Description, (ushort)InfoType.BlockSize);
        ScriptStream stream = new([.. new Packet().U32(3).ToArray(), .. Packet.Option((uint)NbdOption.Go, wish)]);

        Assert.NotNull(new ServerHandshake(stream, disk, startTls: null).Run());

        Assert.Equal(2, stream.WriteCount);
    }

    /// <summary>Notes which threads read.</summary>
    private sealed class ThreadNotes() : BlockingNode(new MemoryNode(1024 * 1024))
    {
        public HashSet<int> ThreadIds { get; } = [];

        protected override void Block(BlockOperationKind kind, BlockRange range)
        {
            if (kind == BlockOperationKind.Read)
            {
                lock (ThreadIds)
                {
                    ThreadIds.Add(Environment.CurrentManagedThreadId);
                }
            }
        }
    }
}
