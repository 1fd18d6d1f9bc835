// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>A partial file that a killed job has left blocks the next one only where it may hold the only copy of something.</summary>
public sealed class LeftPartialTests
{
    private const int SizeBytes = 4 * 1024 * 1024;
    private const string NoteExtension = ".partial.fleece-begun";

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task A_job_that_consumed_nothing_before_it_was_killed_begins_anew(ImageFormat format)
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), format);
        await KillAsync(options, session);

        FileTarget target = await FileTarget.CreateAsync(options, session, CancellationToken.None);
        await using (BackupWriter writer = new(session, target))
        {
            foreach (SnapshotChunk chunk in await Rig.ChunksAsync(session))
            {
                await writer.WriteAsync(chunk);
            }

            _ = await writer.CompleteAsync();
        }

        Assert.Contains("was left by a job that was killed and had consumed nothing", target.Note, StringComparison.Ordinal);
        Assert.Equal(["b.img", "b.img.json"], Names(rig));
    }

    [Fact]
    public async Task A_job_that_would_consume_and_was_killed_before_it_did_begins_anew()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), ImageFormat.Qcow2) with { MayBeOnlyCopy = true };
        await KillAsync(options, session);

        await using BackupWriter writer = await FileBackup.BeginAsync(options, session);
    }

    [Fact]
    public async Task The_note_is_gone_before_the_first_chunk_is_consumed()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), ImageFormat.Qcow2) with { MayBeOnlyCopy = true };
        await using BackupWriter writer = await FileBackup.BeginAsync(options, session);
        Assert.True(File.Exists(options.Path + NoteExtension));
        await using SnapshotRead read = new(session, new SnapshotReadOptions { ChunkSizeBytes = 64 * 1024, DiscardConsumed = true });

        await writer.WriteAsync((await read.NextAsync())!);
        while (session.ConsumedBytes == 0)
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        Assert.False(File.Exists(options.Path + NoteExtension));
    }

    [Fact]
    public async Task A_chunk_is_not_consumed_while_the_note_can_not_be_removed()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), ImageFormat.Raw) with { MayBeOnlyCopy = true };
        await using BackupWriter writer = await FileBackup.BeginAsync(options, session);
        File.Delete(options.Path + NoteExtension);
        Directory.CreateDirectory(options.Path + NoteExtension);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(async () =>
        {
            await using SnapshotRead read = new(session, new SnapshotReadOptions { ChunkSizeBytes = 64 * 1024, DiscardConsumed = true });
            while (await read.NextAsync() is { } chunk)
            {
                await writer.WriteAsync(chunk);
            }

            _ = await writer.CompleteAsync();
        });

        Assert.Contains(NoteExtension, failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, session.ConsumedBytes);
    }

    [Fact]
    public async Task The_partial_file_of_a_job_that_runs_is_in_use()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), ImageFormat.Qcow2);
        await using BackupWriter running = await FileBackup.BeginAsync(options, session);

        await AssertRefusedAsync(BlockErrors.InUse, options, session);

        Assert.Equal(["b.img.partial", "b.img" + NoteExtension], Names(rig));
    }

    // So a job that is killed in the hours that reading back may take still has its note.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_note_stays_until_the_file_was_read_back(bool isRight)
    {
        using TempFolder folder = new();
        ImageCreateOptions layout = new() { Format = ImageFormat.Raw, SizeBytes = SizeBytes };
        PartialImage image = await PartialImage.CreateAsync(folder.File("b.img"), layout, outlivesProcess: false, CancellationToken.None);
        ContentExtent read = new(new BlockRange(0, SizeBytes), SHA256.HashData(new byte[isRight ? SizeBytes : 1]));
        int ends = 0;

        Exception? failure = await Record.ExceptionAsync(
            async () => await image.CloseAsync([read], proved: () => ends++, CancellationToken.None));

        Assert.Equal(isRight ? 1 : 0, ends);
        Assert.Equal(isRight ? null : BackupErrors.BackupDigestMismatch, (failure as BlockException)?.Kind);
    }

    [Fact]
    public async Task A_partial_file_that_was_changed_after_its_note_stays()
    {
        await using Rig rig = new();
        (FileTargetOptions options, Session session) = await LeaveAsync(rig);
        File.SetLastWriteTimeUtc(options.Path + ".partial", DateTime.UtcNow.AddMinutes(1));

        await AssertRefusedAsync(BlockErrors.AlreadyExists, options, session);
    }

    [Fact]
    public async Task A_partial_file_whose_note_is_damaged_stays()
    {
        await using Rig rig = new();
        (FileTargetOptions options, Session session) = await LeaveAsync(rig);
        await File.WriteAllBytesAsync(options.Path + NoteExtension, []);

        await AssertRefusedAsync(BlockErrors.AlreadyExists, options, session);
    }

    [Fact]
    public async Task A_partial_file_that_was_used_as_an_image_meanwhile_stays()
    {
        await using Rig rig = new();
        (FileTargetOptions options, Session session) = await LeaveAsync(rig);

        PartialNote.Forget(options.Path + ".partial");

        await AssertRefusedAsync(BlockErrors.AlreadyExists, options, session);
    }

    // A raw partial file and its note.
    private static async Task<(FileTargetOptions Options, Session Session)> LeaveAsync(Rig rig)
    {
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        FileTargetOptions options = Options(rig.Folder.File("b.img"), ImageFormat.Raw);
        await KillAsync(options, session);
        return (options, session);
    }

    private static FileTargetOptions Options(string path, ImageFormat format) =>
        new() { Path = path, Image = new ImageCreateOptions { Format = format } };

    private static string[] Names(Rig rig) =>
        [.. Directory.GetFileSystemEntries(rig.Folder.Path, "b.img*").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    // Leaves the files of a killed job: a job that ends in order removes them.
    private static async Task KillAsync(FileTargetOptions options, Session session)
    {
        byte[] image;
        byte[] note;
        await using (await FileBackup.BeginAsync(options, session))
        {
            image = LockedFile.Read(options.Path + ".partial");
            note = await File.ReadAllBytesAsync(options.Path + NoteExtension);
        }

        await File.WriteAllBytesAsync(options.Path + ".partial", image);
        await File.WriteAllBytesAsync(options.Path + NoteExtension, note);
    }

    private static async Task AssertRefusedAsync(string kind, FileTargetOptions options, Session session)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            async () => await FileTarget.CreateAsync(options, session, CancellationToken.None));
        Assert.Equal(kind, refused.Kind);
        Assert.True(File.Exists(options.Path + ".partial"));
    }
}
