// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Reads of slow storage, of which a client has sent many at once.</summary>
public sealed class LookaheadTests
{
    private const int MiB = 1024 * 1024;
    private const int DiskBytes = 64 * MiB;
    private const int Read = (int)NbdCommand.Read;

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Reads_that_wait_are_started_before_they_are_served_and_answered_right(HeaderMode mode)
    {
        ColdNode node = new();
        await using ServedDisk disk = new(node);
        Seeds seeds = Seeds.FromEnvironment();
        byte[] content = seeds.Bytes(256 * 4096);
        await disk.Device.WriteAsync(0, content);
        using RawClient client = disk.Go(mode);
        Dictionary<ulong, ulong> asked = [];
        for (ulong i = 0; i < 200; i++)
        {
            asked.Add(client.Begin(Read, i * 4096, 4096), i * 4096);
        }

        foreach ((ulong cookie, Answer answer) in client.ReadAnswers(200))
        {
            Assert.Equal(content[(int)asked[cookie]..][..4096], answer.Data(asked[cookie], 4096));
        }

        // Two reads must have been slow before anybody looks ahead.
        Assert.InRange(node.StartedCount, 150, 200);
        Assert.InRange(node.SleptCount, 1, 50);
    }

    [Fact]
    public async Task No_more_is_started_than_a_bounded_number_of_bytes()
    {
        ColdNode node = new();
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        for (ulong i = 0; i < 64; i++)
        {
            client.Begin(Read, i * MiB, MiB);
        }

        client.ReadAnswers(64);

        Assert.InRange(node.MostAheadBytes, 2 * MiB, 17 * MiB);
    }

    [Fact]
    public async Task A_read_that_is_refused_is_not_started()
    {
        ColdNode node = new();
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        List<ulong> refused = [];
        for (ulong i = 0; i < 32; i++)
        {
            client.Begin(Read, i * 4096, 4096);
            refused.Add(client.Begin(Read, DiskBytes - 512, 4096));
        }

        Dictionary<ulong, Answer> answers = client.ReadAnswers(64);

        Assert.All(answers, answer => Assert.Equal(refused.Contains(answer.Key), answer.Value.Error != NbdError.None));
        Assert.InRange(node.StartedCount, 1, 32);
    }

    /// <summary>Puts a reader to sleep unless what it reads has been started.</summary>
    private sealed class ColdNode : IBlockNode, IReadAhead
    {
        private readonly MemoryNode _inner = new(DiskBytes);
        private readonly HashSet<long> _started = [];
        private long _aheadBytes;

        public int StartedCount { get; private set; }

        public int SleptCount { get; private set; }

        public long MostAheadBytes { get; private set; }

        public bool CanReadAhead => true;

        public BlockGeometry Geometry => _inner.Geometry;

        public void ReadAhead(long offsetBytes, long lengthBytes)
        {
            new BlockRange(offsetBytes, lengthBytes).CheckWithin(DiskBytes, null, "read ahead");
            StartedCount++;
            _started.Add(offsetBytes);
            _aheadBytes += lengthBytes;
            MostAheadBytes = Math.Max(MostAheadBytes, _aheadBytes);
        }

        public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            if (_started.Remove(offsetBytes))
            {
                _aheadBytes -= buffer.Length;
            }
            else
            {
                SleptCount++;
                Thread.Sleep(2);
            }

            return _inner.ReadAsync(offsetBytes, buffer, cancellationToken);
        }

        public ValueTask WriteAsync(
            long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
            _inner.WriteAsync(offsetBytes, data, flags, cancellationToken);

        public ValueTask WriteZeroesAsync(
            long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
            _inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);

        public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
            _inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);

        public ValueTask FlushAsync(CancellationToken cancellationToken) => _inner.FlushAsync(cancellationToken);

        public ValueTask<BlockStatusRun> GetStatusAsync(
            long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
            _inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

        public ValueTask DisposeAsync() => _inner.DisposeAsync();
    }
}
