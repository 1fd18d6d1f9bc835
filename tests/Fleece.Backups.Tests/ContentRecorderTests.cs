// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests;

/// <summary>What a backup notes of its content, which several threads digest.</summary>
public sealed class ContentRecorderTests
{
    private const int MiB = 1024 * 1024;
    private const int DiskBytes = 38 * MiB + 4096;

    [Theory]
    [InlineData(64 * 1024)]
    [InlineData(MiB)]
    [InlineData(8 * MiB)]
    [InlineData(16 * MiB)]
    public async Task Chunks_of_any_size_in_order_give_one_digest_for_each_extent(int chunkBytes)
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(DiskBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, new SnapshotReadOptions { ChunkSizeBytes = chunkBytes });

        (IReadOnlyList<ContentExtent> extents, int storedChunks) = await RecordAsync(chunks);

        Assert.Equal(chunks.Count, storedChunks);
        Check(extents, content);
        Assert.Equal((DiskBytes + ContentExtent.ExtentBytes - 1) / ContentExtent.ExtentBytes, extents.Count);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(4, 2)]
    [InlineData(64, 4)]
    public void Digests_leave_half_of_the_processors_to_others(int processors, int threads) =>
        Assert.Equal(threads, ContentRecorder.ThreadsFor(processors));

    [Fact]
    public async Task Chunks_in_any_order_give_digests_of_everything()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(DiskBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        for (int i = chunks.Count - 1; i > 0; i--)
        {
            int other = rig.Seeds.Next(i + 1);
            (chunks[i], chunks[other]) = (chunks[other], chunks[i]);
        }

        (IReadOnlyList<ContentExtent> extents, _) = await RecordAsync(chunks);

        Check(extents, content);
    }

    // The whole disk, in order and without a gap, each range with the digest of what it holds.
    private static void Check(IReadOnlyList<ContentExtent> extents, byte[] content)
    {
        long atBytes = 0;
        foreach ((BlockRange range, byte[]? digest) in extents)
        {
            Assert.Equal(atBytes, range.OffsetBytes);
            Assert.Equal(SHA256.HashData(content.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes)), digest);
            atBytes = range.EndBytes;
        }

        Assert.Equal(content.Length, atBytes);
    }

    private static async Task<(IReadOnlyList<ContentExtent> Extents, int StoredChunks)> RecordAsync(List<SnapshotChunk> chunks)
    {
        ConcurrentBag<SnapshotChunk> stored = [];
        using ContentRecorder recorder = new("test", threads: 3, chunk =>
        {
            stored.Add(chunk);
            return default;
        }, CancellationToken.None);
        foreach (SnapshotChunk chunk in chunks)
        {
            await recorder.WriterFor(chunk).WriteAsync(chunk);
        }

        recorder.Close();
        await recorder.Ended;
        return (recorder.Finish(), stored.Distinct().Count());
    }
}
