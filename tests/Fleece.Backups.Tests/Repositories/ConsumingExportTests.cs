// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>What an export into a repository has consumed is in a backup, or the bitmap still has it.</summary>
public sealed class ConsumingExportTests
{
    private static readonly SnapshotReadOptions Consuming = new() { ChunkSizeBytes = 256 * 1024, DiscardConsumed = true };

    [Fact]
    public async Task Without_a_bitmap_nothing_is_consumed_before_the_backup_has_its_name()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        byte[] instant = await vm.ReadDiskAsync();
        Session session = await Rig.StartAsync(vm.Disk);
        await vm.WriteAsync(unit: 0, units: 8);
        await using (BackupWriter cut = await BeginAsync(vm, session))
        {
            await SendAsync(session, cut, chunks: 20);
        }

        Assert.Equal(0, session.ConsumedBytes);
        await using BackupWriter writer = await BeginAsync(vm, session);
        await SendAsync(session, writer, int.MaxValue);
        Assert.Equal(0, session.ConsumedBytes);
        BackupPoint point = (await writer.CompleteAsync()).Point!;

        Assert.Equal(Nightly.SizeBytes, session.ConsumedBytes);
        Assert.Equal(instant, await vm.RestoreAsync(point));
    }

    [Fact]
    public async Task With_a_bitmap_chunks_are_consumed_while_the_backup_is_made()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(unit: 0, units: 100);
        string bitmap = Assert.Single(vm.Disk.Bitmaps.All).Name;
        Session session = await Rig.StartAsync(vm.Disk, new SessionOptions { Bitmap = bitmap });
        await using BackupWriter writer = await BeginAsync(vm, session);
        await SendAsync(session, writer, int.MaxValue);

        while (session.ConsumedBytes == 0)
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        Assert.NotNull((await writer.CompleteAsync()).Point);
    }

    [Fact]
    public async Task A_snapshot_of_which_a_part_is_consumed_is_refused_before_the_rest_is()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Session session = await Rig.StartAsync(vm.Disk);
        await session.Snapshot.DiscardAsync(Nightly.UnitBytes, Nightly.UnitBytes);

        BlockException refusal = await Nightly.RefusedAsync(
            BackupErrors.BackupIncomplete, async () => await BeginAsync(vm, session));

        Assert.Contains("was consumed before", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(Nightly.UnitBytes, refusal.OffsetBytes);
        Assert.Equal(Nightly.UnitBytes, session.ConsumedBytes);
        Assert.False(Directory.Exists(vm.RepositoryPath));
        await session.StopAsync();
        Assert.NotNull((await vm.BackUpAsync()).Point);
    }

    private static async Task<BackupWriter> BeginAsync(Nightly vm, Session session)
    {
        RepositoryTargetOptions options = new() { RepositoryPath = vm.RepositoryPath };
        RepositoryTarget target = await RepositoryTarget.CreateAsync(options, session, taken: null, CancellationToken.None);
        return new BackupWriter(session, target);
    }

    private static async Task SendAsync(Session session, BackupWriter writer, int chunks)
    {
        await using SnapshotRead read = new(session, Consuming);
        for (int sent = 0; sent < chunks && await read.NextAsync() is { } chunk; sent++)
        {
            await writer.WriteAsync(chunk);
        }
    }
}
