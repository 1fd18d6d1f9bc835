// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>Reads that take first what the guest is about to overwrite: every byte once, whatever the guest and other readers do.</summary>
public sealed class AtRiskReadingTests
{
    private const int ChunkBytes = SnapshotReadOptions.MinimumChunkSizeBytes;

    private static readonly SnapshotReadOptions AtRisk =
        new() { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true, Order = SnapshotReadOrder.AtRiskFirst };

    // The disk is sparse, so that zero runs reach over slots; between two chunks the guest writes and another reader discards. The plan
    // alone, because a chunk that is discarded between its plan and its read fails.
    [Theory]
    [InlineData(4096, false)]
    [InlineData(512, false)]
    [InlineData(65536, false)]
    [InlineData(4096, true)]
    public async Task Every_byte_comes_once_or_was_discarded_and_is_that_of_the_instant(int granuleSizeBytes, bool isLimited)
    {
        await using Rig rig = new();
        const int SizeBytes = (8 * 1024 * 1024) + 1536;
        (Disk disk, byte[] instant) = await SparseDiskAsync(rig, SizeBytes);
        BlockRange[]? ranges = isLimited ? [.. Enumerable.Range(0, 20).Select(_ => rig.Seeds.Range(SizeBytes))] : null;
        Session session = await Rig.StartAsync(disk, new SessionOptions { GranuleSizeBytes = granuleSizeBytes, Ranges = ranges });
        SnapshotRun[] before = [.. session.GetRuns()];
        bool[] isSeen = new bool[SizeBytes];
        bool[] isDiscarded = new bool[SizeBytes];
        AtRiskPlan plan = new(session, session, AtRisk);
        await WriteAsync(rig, disk);
        while (await plan.NextAsync(default) is { Range: { IsEmpty: false } range } chunk)
        {
            (int at, int length) = ((int)range.OffsetBytes, (int)range.LengthBytes);
            Assert.Equal(-1, isSeen.AsSpan(at, length).IndexOf(true));
            isSeen.AsSpan(at, length).Fill(true);
            byte[] data = new byte[length];
            await session.Snapshot.ReadAsync(at, data);
            Assert.True(instant.AsSpan(at, length).SequenceEqual(data), $"{range} differs");
            Assert.False(chunk.IsZero && data.AsSpan().ContainsAnyExcept((byte)0), $"{range} is no zeros");
            await session.Snapshot.DiscardAsync(at, length);
            await WriteAsync(rig, disk);
            if (rig.Seeds.Chance(20))
            {
                BlockRange gone = rig.Seeds.Range(SizeBytes);
                gone = new BlockRange(gone.OffsetBytes, Math.Min(gone.LengthBytes, 100_000));
                await session.Snapshot.DiscardAsync(gone.OffsetBytes, gone.LengthBytes);
                isDiscarded.AsSpan((int)gone.OffsetBytes, (int)gone.LengthBytes).Fill(true);
            }
        }

        foreach (SnapshotRun run in before)
        {
            for (int at = (int)run.OffsetBytes; at < run.OffsetBytes + run.LengthBytes; at++)
            {
                if (isSeen[at] != (run.IsReadable && (isSeen[at] || !isDiscarded[at])))
                {
                    Assert.Fail($"byte {at} of {run} was {(isSeen[at] ? string.Empty : "not ")}read");
                }
            }
        }

        Assert.DoesNotContain(session.GetRuns(), run => run.IsReadable);
        Assert.Equal(0, session.TempUsedBytes);
    }

    // A range that another reader discards before it is planned does not come; the rest does.
    [Fact]
    public async Task What_is_discarded_before_it_is_planned_is_left_out()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(64 * ChunkBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(disk);
        for (int i = 0; i < 32; i++)
        {
            BlockRange range = rig.Seeds.Range(content.Length);
            await session.Snapshot.DiscardAsync(range.OffsetBytes, Math.Min(range.LengthBytes, 50_000));
            await disk.Device.WriteAsync(rig.Seeds.Range(content.Length - 4096).OffsetBytes, new byte[4096]);
        }

        SnapshotRun[] before = [.. session.GetRuns()];
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, AtRisk);

        Assert.Equal(
            before.Where(run => run.IsReadable).Sum(run => run.LengthBytes), chunks.Sum(chunk => chunk.LengthBytes));
        Assert.All(chunks, chunk => Assert.True(
            content.AsSpan((int)chunk.OffsetBytes, (int)chunk.LengthBytes).SequenceEqual(chunk.Data), $"{chunk} differs"));
        Assert.Equal(chunks.Count, chunks.DistinctBy(chunk => chunk.OffsetBytes).Count());
    }

    [Fact]
    public async Task The_place_behind_the_last_copy_comes_first()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(32 * ChunkBytes));
        Session session = await Rig.StartAsync(disk);
        await disk.Device.WriteAsync(20 * ChunkBytes, new byte[4096]);

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, AtRisk);

        int[] expected = [.. Enumerable.Range(20, 12), .. Enumerable.Range(0, 20)];
        Assert.Equal(expected, chunks.Select(chunk => (int)(chunk.OffsetBytes / ChunkBytes)));
    }

    [Fact]
    public async Task A_disk_that_is_not_written_to_is_read_in_order()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes((8 * ChunkBytes) + 512));
        Session session = await Rig.StartAsync(disk);

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, AtRisk);

        Assert.Equal(Enumerable.Range(0, 9).Select(i => (long)i * ChunkBytes), chunks.Select(chunk => chunk.OffsetBytes));
    }

    // First and last byte lie within slots.
    [Fact]
    public async Task A_part_of_the_disk_is_read_without_what_lies_around_it()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(16 * ChunkBytes));
        Session session = await Rig.StartAsync(disk);
        await disk.Device.WriteAsync(10 * ChunkBytes, new byte[4096]);
        BlockRange part = new((2 * ChunkBytes) + 4096, 10 * ChunkBytes);

        List<SnapshotChunk> chunks = await Rig.ChunksAsync(
            session, AtRisk with { OffsetBytes = part.OffsetBytes, LengthBytes = part.LengthBytes });

        Assert.Equal(10L * ChunkBytes, chunks[0].OffsetBytes);
        BlockRange[] sorted = [.. chunks.Select(chunk => new BlockRange(chunk.OffsetBytes, chunk.LengthBytes))
            .OrderBy(range => range.OffsetBytes)];
        Assert.Equal((part.OffsetBytes, part.EndBytes), (sorted[0].OffsetBytes, sorted[^1].EndBytes));
        Assert.All(sorted.Zip(sorted.Skip(1)), pair => Assert.Equal(pair.First.EndBytes, pair.Second.OffsetBytes));
    }

    [Fact]
    public async Task Each_consumer_gets_every_byte_once()
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(24 * ChunkBytes);
        Disk disk = await rig.AddDiskAsync("vm", instant);
        Session session = await Rig.StartAsync(disk, new SessionOptions { Consumers = ["local", "offsite"] });

        foreach (SessionConsumer consumer in session.Consumers)
        {
            byte[] got = new byte[instant.Length];
            long gotBytes = 0;
            await using SnapshotRead read = new(consumer, AtRisk);
            while (await read.NextAsync() is { } chunk)
            {
                chunk.Data.CopyTo(got.AsSpan((int)chunk.OffsetBytes));
                gotBytes += chunk.LengthBytes;
                chunk.Dispose();
                await WriteAsync(rig, disk);
            }

            Assert.Equal(instant.Length, gotBytes);
            Assert.Equal(instant, got);
        }

        Assert.Equal([new SnapshotRun(0, instant.Length, SnapshotRunState.Consumed)], session.GetRuns());
    }

    // A copy is avoided where the reader came in time, and made elsewhere; together they are all that the guest has touched.
    [Fact]
    public async Task Copies_that_were_needed_and_copies_that_were_not_are_all_that_the_guest_touched()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(32 * ChunkBytes));
        Session session = await Rig.StartAsync(disk);
        HashSet<long> touched = [];
        await using SnapshotRead read = new(session, AtRisk);
        while (await read.NextAsync() is { } chunk)
        {
            chunk.Dispose();
            for (int i = 0; i < 4; i++)
            {
                long granule = rig.Seeds.Next(32L * ChunkBytes / 4096);
                touched.Add(granule);
                await disk.Device.WriteAsync(granule * 4096, rig.Seeds.Bytes(4096));
            }
        }

        Assert.Equal(touched.Count * 4096L, session.Describe().AvoidedBytes + session.CopiedBytes);
        Assert.InRange(session.Describe().AvoidedBytes, 4096, long.MaxValue);
    }

    [Theory]
    [InlineData(ImageFormat.Raw, ImageCompression.None)]
    [InlineData(ImageFormat.Qcow2, ImageCompression.None)]
    [InlineData(ImageFormat.Qcow2, ImageCompression.Zstd)]
    [InlineData(ImageFormat.Vhdx, ImageCompression.None)]
    public async Task A_file_takes_any_order_and_its_manifest_proves_it(ImageFormat format, ImageCompression compression)
    {
        await using Rig rig = new();
        (Disk disk, byte[] instant) = await SparseDiskAsync(rig, 12 * 1024 * 1024);
        Session session = await Rig.StartAsync(disk);
        string path = rig.Folder.File("backup." + format);
        FileTargetOptions options = new()
        {
            Path = path,
            Image = new ImageCreateOptions { Format = format, Compression = compression },
            MustVerify = true,
        };
        FileTarget target = await FileTarget.CreateAsync(options, session, default);
        await using SnapshotCopy copy = await SnapshotCopy.StartAsync(session, target, AtRisk);
        await WriteAsync(rig, disk);
        while (await copy.StepAsync(default))
        {
            await WriteAsync(rig, disk);
        }

        Backup backup = await copy.CompleteAsync(default);

        Assert.NotNull(backup.Point);
        (IBlockNode image, _) = await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true }, default);
        byte[] stored = new byte[instant.Length];
        await image.ReadAsync(0, stored, default);
        await image.DisposeAsync();
        Assert.Equal(instant, stored);
    }

    [Fact]
    public async Task A_stream_refuses_what_does_not_come_in_order_and_nothing_is_consumed()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(8 * ChunkBytes));
        Session session = await Rig.StartAsync(disk);
        using MemoryStream stream = new();
        await using SnapshotCopy copy = await SnapshotCopy.StartAsync(session, new StreamTarget(stream, session.SizeBytes), AtRisk);

        BlockException refused = await Assert.ThrowsAsync<BlockException>(async () => await copy.StepAsync(default));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Contains("-Order AtRiskFirst", refused.Message, StringComparison.Ordinal);
        Assert.Equal((0, 0), (stream.Length, session.ConsumedBytes));
    }

    // The guest's writes are those of a random place, and of a stream that goes on.
    private static async Task WriteAsync(Rig rig, Disk disk)
    {
        BlockRange range = rig.Seeds.Range(disk.SizeBytes);
        await disk.Device.WriteAsync(range.OffsetBytes, rig.Seeds.Bytes(Math.Min(range.LengthBytes, 20_000)));
    }

    private static async Task<(Disk Disk, byte[] Instant)> SparseDiskAsync(Rig rig, int sizeBytes)
    {
        Disk disk = await rig.AddDiskAsync("vm", (long)sizeBytes);
        ReferenceDisk reference = new(sizeBytes);
        for (int i = 0; i < 16; i++)
        {
            BlockRange range = rig.Seeds.Range(sizeBytes);
            byte[] data = rig.Seeds.Bytes(Math.Min(range.LengthBytes, 300_000));
            await disk.Device.WriteAsync(range.OffsetBytes, data);
            reference.Write(range.OffsetBytes, data);
        }

        return (disk, reference.Content.ToArray());
    }
}
