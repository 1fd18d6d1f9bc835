// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>Consumers of one session that read side by side at random paces, fail, and come again, while a guest writes.</summary>
public sealed class ConsumerModelTests
{
    private const int DiskBytes = (6 * 1024 * 1024) + 1536;
    private const int ChunkBytes = SnapshotReadOptions.MinimumChunkSizeBytes;

    private static readonly SnapshotReadOptions Consuming = new() { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true };

    [Theory]
    [InlineData(2, 4096)]
    [InlineData(2, 65536)]
    [InlineData(3, 512)]
    public async Task Each_gets_the_instant_and_temp_keeps_what_one_of_them_still_needs(int count, int granuleSizeBytes)
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(DiskBytes);
        Disk disk = await rig.AddDiskAsync("vm", instant);
        Session session = await Rig.StartAsync(disk, new SessionOptions
        {
            GranuleSizeBytes = granuleSizeBytes,
            Consumers = [.. Enumerable.Range(0, count).Select(i => $"consumer {i}")],
        });
        Model model = new(session, instant);
        Seeds guest = rig.Seeds.Fork();
        using CancellationTokenSource ended = new();
        Task writing = Task.Run(() => ScribbleAsync(disk, guest, ended.Token));

        // Each reads until nothing is left for it; every pass may be cut short, as by a backup that fails.
        Task[] reading = [.. session.Consumers.Select((_, i) =>
        {
            Seeds mine = rig.Seeds.Fork();
            return Task.Run(() => model.ReadAllAsync(i, mine));
        })];
        await Task.WhenAll(reading);
        await ended.CancelAsync();
        await writing;

        model.CheckConsumed();
        Assert.Equal([new SnapshotRun(0, DiskBytes, SnapshotRunState.Consumed)], session.GetRuns());
        Assert.Equal(DiskBytes, session.ConsumedBytes);
        Assert.All(session.Consumers, consumer => Assert.Equal((DiskBytes, 0L), ((int)consumer.ConfirmedBytes, consumer.RemainingBytes)));
        Assert.Equal(0, session.TempUsedBytes);
        Assert.Equal(0, AllocatedBytes(session));
    }

    // The one that never comes holds what it has not confirmed, and can be let go with one discard.
    [Fact]
    public async Task A_consumer_that_fails_keeps_what_it_did_not_confirm_and_the_other_goes_on()
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(DiskBytes);
        Disk disk = await rig.AddDiskAsync("vm", instant);
        Session session = await Rig.StartAsync(disk, new SessionOptions { Consumers = ["local", "offsite"] });
        await disk.Device.WriteAsync(0, rig.Seeds.Bytes(DiskBytes));

        List<SnapshotChunk> local = await ChunksAsync(session.FindConsumer("local"));
        List<SnapshotChunk> offsite = await ChunksAsync(session.FindConsumer("OFFSITE"));
        local.ForEach(chunk => chunk.Dispose());
        offsite[0].Dispose();
        offsite[1..].ForEach(chunk => chunk.Abandon());

        Assert.Equal(ChunkBytes, session.ConsumedBytes);
        Assert.Equal(DiskBytes - ChunkBytes, session.FindConsumer("offsite").RemainingBytes);
        Assert.Equal(DiskBytes - ChunkBytes, session.TempUsedBytes);
        Assert.Empty(await ChunksAsync(session.FindConsumer("local")));
        Assert.Equal(instant[ChunkBytes..], (await ChunksAsync(session.FindConsumer("offsite"))).SelectMany(chunk => chunk.Data));

        await session.FindConsumer("offsite").Snapshot.DiscardAsync(0, DiskBytes);
        Assert.Equal(0, AllocatedBytes(session));
    }

    [Fact]
    public async Task A_session_ends_while_its_consumers_read()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(DiskBytes));
        Session session = await Rig.StartAsync(disk, new SessionOptions { Consumers = ["local", "offsite"] });
        await using SnapshotRead read = new(session.Consumers[0], Consuming);
        SnapshotChunk first = (await read.NextAsync())!;

        await session.StopAsync();
        first.Dispose();

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await session.Consumers[1].Snapshot.ReadAsync(0, new byte[1]));
        Assert.Equal(BlockErrors.Stopped, error.Kind);
    }

    [Fact]
    public async Task A_reader_that_is_no_consumer_may_read_and_not_discard()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(DiskBytes));
        Session session = await Rig.StartAsync(disk, new SessionOptions { Consumers = ["local", "offsite"] });

        Assert.Same(session, session.GetSource(consumer: null, discards: false));
        Assert.Same(session.Consumers[1], session.GetSource("Offsite", discards: true));
        BlockException unnamed = Assert.Throws<BlockException>(() => session.GetSource(consumer: null, discards: true));
        BlockException unknown = Assert.Throws<BlockException>(() => session.GetSource("nobody", discards: false));

        Assert.Equal([DiskErrors.ConsumerUnknown, DiskErrors.ConsumerUnknown], [unnamed.Kind, unknown.Kind]);
        Assert.Contains("'local', 'offsite'", unnamed.Message, StringComparison.Ordinal);
        Assert.Contains("'local', 'offsite'", unknown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a", "A")]
    [InlineData("a/b", "c")]
    [InlineData("", "c")]
    [InlineData("*", "c")]
    public async Task Names_that_could_be_mistaken_start_nothing(string first, string second)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", DiskBytes);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            () => Rig.StartAsync(disk, new SessionOptions { Consumers = [first, second] }));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Empty(disk.Sessions);
    }

    private static long AllocatedBytes(Session session)
    {
        Assert.True(Block.Files.FileSystemSpace.TryGetAllocatedBytes(session.TempPath, out long allocatedBytes));
        return allocatedBytes;
    }

    private static async Task<List<SnapshotChunk>> ChunksAsync(SessionConsumer consumer)
    {
        List<SnapshotChunk> chunks = [];
        await using SnapshotRead read = new(consumer, Consuming);
        while (await read.NextAsync() is { } chunk)
        {
            chunks.Add(chunk);
        }

        return chunks;
    }

    private static async Task ScribbleAsync(Disk disk, Seeds seeds, CancellationToken ended)
    {
        while (!ended.IsCancellationRequested)
        {
            BlockRange range = seeds.Range(disk.SizeBytes);
            byte[] data = seeds.Bytes(Math.Min(range.LengthBytes, 20_000));
            await disk.Device.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
            await Task.Yield();
        }
    }

    /// <summary>What each consumer has begun and ended to confirm, in chunks of the disk.</summary>
    private sealed class Model(Session session, byte[] instant)
    {
        private readonly bool[][] _begun = Marks(session);
        private readonly bool[][] _ended = Marks(session);

        /// <summary>Reads in passes until nothing is left; checks every byte, and now and then the whole map.</summary>
        public async Task ReadAllAsync(int index, Seeds seeds)
        {
            SessionConsumer consumer = session.Consumers[index];
            while (consumer.RemainingBytes != 0)
            {
                await using SnapshotRead read = new(consumer, Consuming);
                while (await read.NextAsync() is { } chunk)
                {
                    Assert.False(_begun[index][chunk.OffsetBytes / ChunkBytes], $"{chunk} comes again");
                    Assert.True(
                        instant.AsSpan((int)chunk.OffsetBytes, (int)chunk.LengthBytes).SequenceEqual(chunk.Data), $"{chunk} differs");
                    await PauseAsync(seeds);
                    if (seeds.Chance(10))
                    {
                        chunk.Abandon();
                    }
                    else
                    {
                        Volatile.Write(ref _begun[index][chunk.OffsetBytes / ChunkBytes], true);
                        chunk.Dispose();
                        Volatile.Write(ref _ended[index][chunk.OffsetBytes / ChunkBytes], true);
                    }

                    if (seeds.Chance(5))
                    {
                        break;
                    }

                    if (seeds.Chance(10))
                    {
                        CheckConsumed();
                    }
                }
            }
        }

        /// <summary>Nothing is consumed that one of them has not begun to confirm, and everything that all have confirmed is.</summary>
        public void CheckConsumed()
        {
            bool[] mustBe = [.. Enumerable.Range(0, _ended[0].Length).Select(chunk => _ended.All(mine => Volatile.Read(ref mine[chunk])))];
            bool[] isConsumed = new bool[mustBe.Length];
            foreach (SnapshotRun run in session.GetRuns().Where(run => !run.IsReadable))
            {
                for (long at = run.OffsetBytes; at < run.OffsetBytes + run.LengthBytes; at += ChunkBytes)
                {
                    isConsumed[at / ChunkBytes] = true;
                }
            }

            for (int chunk = 0; chunk < mustBe.Length; chunk++)
            {
                Assert.False(mustBe[chunk] && !isConsumed[chunk], $"chunk {chunk} was confirmed by all and is kept");
                Assert.False(
                    isConsumed[chunk] && !_begun.All(mine => Volatile.Read(ref mine[chunk])), $"chunk {chunk} is gone and somebody needs it");
            }
        }

        private static async Task PauseAsync(Seeds seeds)
        {
            for (int i = seeds.Pick(0, 0, 1, 20); i > 0; i--)
            {
                await Task.Yield();
            }
        }

        private static bool[][] Marks(Session session) =>
            [.. session.Consumers.Select(_ => new bool[(session.SizeBytes + ChunkBytes - 1) / ChunkBytes])];
    }
}
