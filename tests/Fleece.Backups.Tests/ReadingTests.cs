// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

public sealed class ReadingTests
{
    private const int ChunkBytes = SnapshotReadOptions.MinimumChunkSizeBytes;

    // Random islands of data on a sparse disk, random guest writes after the instant: the chunks must tile the disk in order and
    // hold the instant's bytes.
    [Theory]
    [InlineData(4096)]
    [InlineData(512)]
    [InlineData(65536)]
    public async Task Chunks_tile_the_disk_in_order_with_the_bytes_of_the_instant(int granuleSizeBytes)
    {
        await using Rig rig = new();
        (Disk disk, byte[] instant) = await SparseDiskAsync(rig, (3 * 1024 * 1024) + 1536);
        Session session = await Rig.StartAsync(disk, new SessionOptions { GranuleSizeBytes = granuleSizeBytes });
        await ScribbleAsync(rig, disk);

        long atBytes = 0;
        foreach (SnapshotChunk chunk in await Rig.ChunksAsync(session, new SnapshotReadOptions { ChunkSizeBytes = ChunkBytes }))
        {
            Assert.Equal(atBytes, chunk.OffsetBytes);
            Assert.Equal(0, chunk.OffsetBytes % granuleSizeBytes);
            Assert.Equal(chunk.LengthBytes, chunk.Data.Length);
            Assert.True(
                instant.AsSpan((int)chunk.OffsetBytes, (int)chunk.LengthBytes).SequenceEqual(chunk.Data), $"{chunk} differs");
            atBytes += chunk.LengthBytes;
        }

        Assert.Equal(disk.SizeBytes, atBytes);
    }

    [Fact]
    public async Task A_hole_of_a_terabyte_is_read_in_chunks_without_data()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", 1L << 40);
        await disk.Device.WriteAsync(1L << 39, new byte[] { 1 });
        Session session = await Rig.StartAsync(disk);

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);

        Assert.Equal(1L << 40, chunks.Sum(chunk => chunk.LengthBytes));
        SnapshotChunk data = Assert.Single(chunks, chunk => !chunk.IsZero);
        Assert.InRange(data.LengthBytes, 1, SnapshotReadOptions.DefaultChunkSizeBytes);
        Assert.Equal(1, data.Data[0]);
    }

    [Fact]
    public async Task What_is_denied_is_not_read()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(1024 * 1024));
        BlockRange[] ranges = [new(4096, 8192), new(500_000, 1), new(1024 * 1024 - 1, 1)];
        Session session = await Rig.StartAsync(disk, new SessionOptions { Ranges = ranges });

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);

        Assert.Equal([(4096L, 8192L), (499_712L, 4096L), (1024 * 1024 - 4096L, 4096L)],
            chunks.Select(chunk => (chunk.OffsetBytes, chunk.LengthBytes)));
    }

    [Theory]
    [InlineData(4096)]
    [InlineData(65536)]
    public async Task Disposing_every_chunk_consumes_the_whole_disk_and_empties_temp(int granuleSizeBytes)
    {
        await using Rig rig = new();
        (Disk disk, _) = await SparseDiskAsync(rig, (2 * 1024 * 1024) + 512);
        Session session = await Rig.StartAsync(disk, new SessionOptions { GranuleSizeBytes = granuleSizeBytes });
        await ScribbleAsync(rig, disk);

        SnapshotReadOptions options = new() { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true };
        (await Rig.ChunksAsync(session, options)).ForEach(chunk => chunk.Dispose());

        SnapshotRun run = Assert.Single(session.GetRuns());
        Assert.Equal(SnapshotRunState.Consumed, run.State);
        Assert.Equal(disk.SizeBytes, session.ConsumedBytes);
        Assert.True(Block.Files.FileSystemSpace.TryGetAllocatedBytes(session.TempPath, out long allocatedBytes));
        Assert.Equal(0, allocatedBytes);
    }

    [Fact]
    public async Task Chunks_that_are_abandoned_or_kept_consume_nothing()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(1024 * 1024);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(disk);

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(
            session, new SnapshotReadOptions { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true });
        chunks[0].Abandon();
        chunks[0].Dispose();
        chunks[1].Dispose();

        Assert.Equal(ChunkBytes, session.ConsumedBytes);
        Assert.Equal(content[(2 * ChunkBytes)..], chunks.Skip(2).SelectMany(chunk => chunk.Data));
        Assert.Throws<ObjectDisposedException>(() => chunks[1].Data);
    }

    [Fact]
    public async Task A_read_that_is_disposed_half_way_ends_its_threads_and_consumes_nothing()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(4 * 1024 * 1024));
        Session session = await Rig.StartAsync(disk);
        SnapshotRead read = new(session, new SnapshotReadOptions { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true });
        SnapshotChunk first = (await read.NextAsync())!;

        await read.DisposeAsync();
        await read.DisposeAsync();

        Assert.Equal(0, session.ConsumedBytes);
        Assert.Equal(ChunkBytes, first.Data.Length);
        await session.StopAsync();
    }

    [Fact]
    public async Task A_read_of_a_session_that_stops_ends_with_an_error_instead_of_an_end()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(8 * 1024 * 1024));
        Session session = await Rig.StartAsync(disk);
        await using SnapshotRead read = new(session, new SnapshotReadOptions { ChunkSizeBytes = ChunkBytes });
        await read.NextAsync();

        await session.StopAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
        {
            while (await read.NextAsync() is not null)
            {
            }
        });
        Assert.Equal(BlockErrors.Stopped, error.Kind);
    }

    private static async Task<(Disk Disk, byte[] Instant)> SparseDiskAsync(Rig rig, int sizeBytes)
    {
        Disk disk = await rig.AddDiskAsync("vm", (long)sizeBytes);
        ReferenceDisk reference = new(sizeBytes);
        for (int i = 0; i < 12; i++)
        {
            BlockRange range = rig.Seeds.Range(sizeBytes);
            byte[] data = rig.Seeds.Bytes(Math.Min(range.LengthBytes, 100_000));
            await disk.Device.WriteAsync(range.OffsetBytes, data);
            reference.Write(range.OffsetBytes, data);
        }

        return (disk, reference.Content.ToArray());
    }

    private static async Task ScribbleAsync(Rig rig, Disk disk)
    {
        for (int i = 0; i < 60; i++)
        {
            BlockRange range = rig.Seeds.Range(disk.SizeBytes);
            await disk.Device.WriteAsync(range.OffsetBytes, rig.Seeds.Bytes(Math.Min(range.LengthBytes, 10_000)));
        }
    }
}
