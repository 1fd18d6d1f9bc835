// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

public sealed class BackupTests
{
    private static readonly ImageCreateOptions RawLayout = new() { Format = ImageFormat.Raw };

    private const int ChunkBytes = SnapshotReadOptions.MinimumChunkSizeBytes;
    private const int SizeBytes = (16 * ChunkBytes) + 512;

    private static readonly SnapshotReadOptions Consuming = new() { ChunkSizeBytes = ChunkBytes, DiscardConsumed = true };

    [Theory]
    [InlineData("b.raw")]
    [InlineData("b.qcow2")]
    public async Task A_complete_backup_opens_as_the_disk_at_the_instant(string fileName)
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", instant);
        Session session = await Rig.StartAsync(disk);
        await disk.Device.WriteZeroesAsync(1000, SizeBytes - 2000);

        Backup backup = await BackUpAsync(session, new FileTargetOptions { Path = rig.Folder.File(fileName) });

        Assert.Equal(session.StartedAt, backup.Instant);
        await using Disk opened = await Disk.OpenAsync(backup.Path, options: new ImageOpenOptions { IsReadOnly = true });
        byte[] content = new byte[SizeBytes];
        await opened.Device.ReadAsync(0, content);
        Assert.Equal(instant, content);
    }

    [Fact]
    public async Task Until_it_is_complete_a_backup_does_not_have_its_name()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        string path = rig.Folder.File("b.raw");
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = path }, session);
        await writer.WriteAsync(chunks[0]);

        Assert.False(File.Exists(path));
        await writer.DisposeAsync();
        Assert.Empty(Directory.GetFiles(rig.Folder.Path, "b.raw*"));
    }

    // I8: the target fails at its fifth write. What was confirmed is consumed, everything else is still readable, and the
    // partial file, the only copy of what was consumed, is kept.
    [Fact]
    public async Task A_failing_backup_consumes_only_what_it_stored_and_keeps_it()
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(SizeBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", instant));
        string partialPath = rig.Folder.File("b.raw.partial");
        FaultNode failing = new FaultNode(FileNode.Create(partialPath, SizeBytes)).FailNth(BlockOperationKind.Write, 5, BlockErrors.NoSpace);
        BackupWriter writer = new(
            session, MakeTarget(rig.Folder.File("b.raw"), failing));

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => FeedAsync(session, writer));
        await writer.DisposeAsync();

        Assert.Equal(BlockErrors.NoSpace, error.Kind);
        Assert.Equal(partialPath, writer.KeptAt);
        byte[] stored = await File.ReadAllBytesAsync(partialPath);
        long consumedBytes = 0;
        foreach (SnapshotRun run in session.GetRuns())
        {
            byte[] bytes = new byte[run.LengthBytes];
            if (run.State == SnapshotRunState.Consumed)
            {
                stored.AsSpan((int)run.OffsetBytes, bytes.Length).CopyTo(bytes);
                consumedBytes += run.LengthBytes;
            }
            else
            {
                await session.Snapshot.ReadAsync(run.OffsetBytes, bytes);
            }

            Assert.Equal(instant.AsSpan((int)run.OffsetBytes, (int)run.LengthBytes).ToArray(), bytes);
        }

        Assert.InRange(consumedBytes, 1, SizeBytes - 1);
    }

    [Fact]
    public async Task A_backup_that_misses_chunks_is_refused()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, new SnapshotReadOptions { ChunkSizeBytes = ChunkBytes });
        FileTargetOptions options = new() { Path = rig.Folder.File("b.raw") };
        await using BackupWriter writer = await FileBackup.BeginAsync(options, session);
        foreach (SnapshotChunk chunk in chunks.SkipLast(1))
        {
            await writer.WriteAsync(chunk);
        }

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () => await writer.CompleteAsync());

        Assert.Equal(BackupErrors.BackupIncomplete, error.Kind);
        Assert.False(File.Exists(options.Path));
    }

    [Fact]
    public async Task Chunks_of_another_session_are_refused()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        Session first = await Rig.StartAsync(disk, new SessionOptions { Name = "a" });
        SnapshotChunk foreign = (await Rig.ChunksAsync(await Rig.StartAsync(disk, new SessionOptions { Name = "b" })))[0];
        await using BackupWriter writer = await FileBackup.BeginAsync(
            new FileTargetOptions { Path = rig.Folder.File("b.raw") }, first);

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () => await writer.WriteAsync(foreign));

        Assert.Equal(BackupErrors.ForeignChunk, error.Kind);
    }

    [Fact]
    public async Task A_chunk_that_was_disposed_before_is_refused()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        await using BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = rig.Folder.File("b.raw") }, session);
        chunks[0].Dispose();

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () => await writer.WriteAsync(chunks[0]));

        Assert.Equal(BackupErrors.ChunkUsed, error.Kind);
    }

    // I8: a sender that disposes what it has just sent must not recycle or discard bytes that are not stored yet.
    [Fact]
    public async Task A_chunk_that_is_being_stored_can_not_be_ended_by_its_sender()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(ChunkBytes)));
        SnapshotChunk chunk = Assert.Single(await Rig.ChunksAsync(session, Consuming));
        string partialPath = rig.Folder.File("b.raw.partial");
        HoldNode target = new(FileNode.Create(partialPath, ChunkBytes));
        Hold storing = target.HoldNext(BlockOperationKind.Write);
        await using BackupWriter writer = new(
            session, MakeTarget(rig.Folder.File("b.raw"), target));
        await writer.WriteAsync(chunk);
        await storing.Reached;

        chunk.Dispose();
        chunk.Abandon();

        Exception? recycled = Record.Exception(() => chunk.Data);
        long consumedBytes = session.ConsumedBytes;
        storing.Release();
        await writer.CompleteAsync();
        Assert.Null(recycled);
        Assert.Equal(0, consumedBytes);
        Assert.Equal(ChunkBytes, session.ConsumedBytes);
    }

    [Fact]
    public async Task A_partial_file_of_an_earlier_failure_is_never_overwritten()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        string path = rig.Folder.File("b.raw");
        await File.WriteAllTextAsync(path + ".partial", "only copy");

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            () => BackUpAsync(session, new FileTargetOptions { Path = path, Overwrite = true }));

        Assert.Equal(BlockErrors.AlreadyExists, error.Kind);
        Assert.Equal("only copy", await File.ReadAllTextAsync(path + ".partial"));
    }

    private static FileTarget MakeTarget(string path, IBlockNode node) =>
        new(new FileTargetOptions { Path = path }, new PartialImage(path, RawLayout, node), manifest: null, PartialNote.Begin(path));

    private static async Task<Backup> BackUpAsync(Session session, FileTargetOptions options)
    {
        await using SnapshotRead read = new(session, Consuming);
        await using BackupWriter writer = await FileBackup.BeginAsync(options, session);
        while (await read.NextAsync() is { } chunk)
        {
            await writer.WriteAsync(chunk);
        }

        return await writer.CompleteAsync();
    }

    private static async Task FeedAsync(Session session, BackupWriter writer)
    {
        await using SnapshotRead read = new(session, Consuming);
        while (await read.NextAsync() is { } chunk)
        {
            await writer.WriteAsync(chunk);
        }

        await writer.CompleteAsync();
    }
}
