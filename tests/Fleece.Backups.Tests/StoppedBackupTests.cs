// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Retaining;
using Fleece.Backups.Tests.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>Ctrl+C: each thread ends with the request that it has begun, and nothing that is thrown away is made durable.</summary>
[Collection(nameof(StoppedBackupTests))]
[CollectionDefinition(nameof(StoppedBackupTests), DisableParallelization = true)]
public sealed class StoppedBackupTests
{
    private const int SizeBytes = 16 * 1024 * 1024;
    private const int PieceBytes = SparseWrite.PieceBytes;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_backup_that_is_stopped_begins_no_request_any_more(bool isStoppedAtItsEnd)
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", InPieces(rig)));
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session, new SnapshotReadOptions { ChunkSizeBytes = SizeBytes / 4 });
        string partialPath = rig.Folder.File("b.raw.partial");
        HoldNode slow = new(FileNode.Create(partialPath, SizeBytes));
        RecordingNode target = new(slow);
        FileTarget file = new(
            new FileTargetOptions { Path = rig.Folder.File("b.raw") },
            new PartialImage(rig.Folder.File("b.raw"), new ImageCreateOptions { Format = ImageFormat.Raw }, target),
            manifest: null,
            PartialNote.Begin(rig.Folder.File("b.raw")));
        Hold[] held = [.. Enumerable.Range(0, file.Traits.WritesAtOnce).Select(_ => slow.HoldNext(BlockOperationKind.Write))];
        BackupWriter writer = new(session, file);
        foreach (SnapshotChunk chunk in chunks)
        {
            await writer.WriteAsync(chunk);
        }

        await Task.WhenAll(held.Select(hold => hold.Reached));
        using CancellationTokenSource stop = new();
        Task<Backup> completing = isStoppedAtItsEnd ? writer.CompleteAsync(stop.Token).AsTask() : Task.FromCanceled<Backup>(new(true));
        await stop.CancelAsync();
        ValueTask disposing = isStoppedAtItsEnd ? default : writer.DisposeAsync();
        foreach (Hold hold in held)
        {
            hold.Release();
        }

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => completing);
        await disposing;
        await writer.DisposeAsync();

        Assert.Equal(file.Traits.WritesAtOnce, target.Operations.Count);
        Assert.Equal(0, session.ConsumedBytes);
        Assert.False(File.Exists(partialPath));
    }

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task An_image_whose_file_is_thrown_away_is_closed_without_a_write_or_a_flush(ImageFormat format)
    {
        await using Rig rig = new();
        string path = rig.Folder.NewFile();
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes });
        (IBlockNode image, _) = await Image.OpenAsync(path, new ImageOpenOptions { Format = format });
        await image.WriteAsync(0, rig.Seeds.Bytes(SizeBytes / 2), WriteFlags.None, CancellationToken.None);

        string[] calls = await SystemCalls.WatchAsync(
            rig.Folder, "fsync,fdatasync,pwrite64,pwritev,ftruncate,close", async () => await Image.AbandonAsync(image));

        Assert.True(SystemCalls.Find(calls, "close(", $"<{path}>") >= 0, "The end of the image is not in the log.");
        Assert.Single(calls, call => call.Contains($"<{path}>", StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task A_merge_that_is_stopped_ends_with_its_request_and_the_next_job_finishes_it(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        for (int night = 0; night < 3; night++)
        {
            await vm.WriteAsync(3 + night, 20);
            await vm.WriteAsync(150 + night, 20);
            await vm.BackUpAsync();
        }

        int begun = 0;
        using CancellationTokenSource stop = new();
        using (RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath))
        {
            folder.Reached = reached =>
            {
                begun += reached == "merging" ? 1 : 0;
                stop.Cancel();
            };
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await new Retention(folder).KeepAsync(2, stop.Token));
        }

        Assert.Equal(1, begun);
        await vm.CheckAsync();
        await vm.BackUpAsync(vm.Options(keep: 3));
        Assert.Equal([2, 3, 4], vm.Read().Points.Select(point => point.Number));
        await vm.CheckAsync();
    }

    // Every other piece holds data, so that one chunk takes many requests.
    private static byte[] InPieces(Rig rig)
    {
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        for (int atBytes = 0; atBytes < SizeBytes; atBytes += 2 * PieceBytes)
        {
            content.AsSpan(atBytes, PieceBytes).Clear();
        }

        return content;
    }
}
