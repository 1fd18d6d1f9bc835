// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>Backups to a target that can lose what it acknowledged while the session lives on, as a server can (I8).</summary>
public sealed class ServerTargetTests
{
    private const int SizeBytes = 1024 * 1024;

    private static readonly SnapshotReadOptions Consuming = new() { DiscardConsumed = true, ChunkSizeBytes = 64 * 1024 };

    [Fact]
    public async Task Chunks_are_consumed_when_they_are_durable()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        HoldNode image = new(new MemoryNode(SizeBytes));
        Hold flushing = image.HoldNext(BlockOperationKind.Flush);
        await using BackupWriter writer = new(session, new ServerTarget(image));
        await FeedAsync(session, writer);
        Task<Backup> completing = writer.CompleteAsync().AsTask();
        await flushing.Reached;

        long consumedBytes = session.ConsumedBytes;
        flushing.Release();
        await completing;

        Assert.Equal(0, consumedBytes);
        Assert.Equal(SizeBytes, session.ConsumedBytes);
    }

    [Fact]
    public async Task A_flush_that_fails_consumes_nothing()
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(SizeBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", instant));
        FaultNode image = new FaultNode(new MemoryNode(SizeBytes)).FailNth(BlockOperationKind.Flush, 1, BlockErrors.IoFailed);
        BackupWriter writer = new(session, new ServerTarget(image));
        await FeedAsync(session, writer);

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () => await writer.CompleteAsync());
        await writer.DisposeAsync();

        Assert.Equal(BlockErrors.IoFailed, error.Kind);
        Assert.Equal(0, session.ConsumedBytes);
        Assert.Equal(instant, await Rig.ReadAllAsync(session));
    }

    [Fact]
    public async Task A_backup_that_is_given_up_consumes_nothing_that_was_not_flushed()
    {
        await using Rig rig = new();
        byte[] instant = rig.Seeds.Bytes(SizeBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", instant));
        BackupWriter writer = new(session, new ServerTarget(new MemoryNode(SizeBytes)));
        await FeedAsync(session, writer);

        await writer.DisposeAsync();

        Assert.Null(writer.KeptAt);
        Assert.Equal(instant, await Rig.ReadAllAsync(session));
    }

    private static async Task FeedAsync(Session session, BackupWriter writer)
    {
        await using SnapshotRead read = new(session, Consuming);
        while (await read.NextAsync() is { } chunk)
        {
            await writer.WriteAsync(chunk);
        }
    }

    private sealed class ServerTarget(IBlockNode image) : IBackupTarget
    {
        public TargetTraits Traits { get; } = new()
        {
            Destination = "nbd://server/backup",
            ConfirmsWhenDurable = true,
            WritesAtOnce = 2,
        };

        public IBlockNode Image => image;

        public bool SurvivesKill => true;

        public async ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
        {
            await image.FlushAsync(cancellationToken);
            return null;
        }

        public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
        {
            await image.DisposeAsync();
            return isOnlyCopy ? Traits.Destination : null;
        }
    }
}
