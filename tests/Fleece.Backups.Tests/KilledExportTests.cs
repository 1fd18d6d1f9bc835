// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>The partial file holds each consumed range, whenever the process that writes it is killed.</summary>
public sealed class KilledExportTests
{
    private const int SizeBytes = 24 * 1024 * 1024;
    private const string JournalExtension = ".fleece-journal";
    private const string Aside = ".journal-aside";

    [Theory]
    [InlineData(ImageFormat.Raw, ImageCompression.None)]
    [InlineData(ImageFormat.Qcow2, ImageCompression.None)]
    [InlineData(ImageFormat.Qcow2, ImageCompression.Zstd)]
    [InlineData(ImageFormat.Qcow2, ImageCompression.Zlib)]
    [InlineData(ImageFormat.Vhd, ImageCompression.None)]
    [InlineData(ImageFormat.Vhdx, ImageCompression.None)]
    public async Task The_partial_file_of_a_killed_export_holds_all_that_was_consumed(ImageFormat format, ImageCompression compression)
    {
        await using Rig rig = new();
        byte[] content = Content(rig);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        string path = rig.Folder.File("b.img");
        await using BackupWriter writer = await FileBackup.BeginAsync(Options(path, format, compression), session);

        List<BlockRange> consumed = await ConsumeHalfAsync(session, writer);
        Killed killed = Killed.Take(path + ".partial");
        await writer.DisposeAsync();
        killed.PutBack();

        await AssertHoldsAsync(path + ".partial", format, content, consumed);
    }

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task Where_no_journal_can_be_kept_a_chunk_is_consumed_when_it_is_durable(ImageFormat format)
    {
        await using Rig rig = new();
        byte[] content = Content(rig);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        string path = rig.Folder.File("b.img");
        Directory.CreateDirectory(path + ".partial" + JournalExtension); // In the journal's place.
        await using BackupWriter writer = await FileBackup.BeginAsync(Options(path, format, ImageCompression.None), session);

        List<BlockRange> consumed = await ConsumeHalfAsync(session, writer);
        Killed killed = Killed.Take(path + ".partial");
        await writer.DisposeAsync();
        killed.PutBack();
        Directory.Delete(path + ".partial" + JournalExtension);

        await AssertHoldsAsync(path + ".partial", format, content, consumed);
    }

    [Fact]
    public async Task A_journal_that_is_given_up_takes_nothing_with_it_that_was_consumed_before()
    {
        await using Rig rig = new();
        byte[] content = Content(rig);
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", content));
        RecordingNode image = new(FileNode.Create(rig.Folder.NewFile(), SizeBytes));
        TargetThatSurvives target = new(image);
        await using BackupWriter writer = new(session, target);
        await using SnapshotRead read = new(session, Consuming);
        await writer.WriteAsync((await read.NextAsync())!);
        await WaitAsync(() => session.ConsumedBytes != 0);
        Assert.DoesNotContain(image.Operations, operation => operation.Kind == BlockOperationKind.Flush);

        target.SurvivesKill = false;
        await writer.WriteAsync((await read.NextAsync())!);

        await WaitAsync(() => image.Operations.Any(operation => operation.Kind == BlockOperationKind.Flush));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_journal_is_kept_only_where_chunks_are_consumed_and_ends_with_the_backup(bool mayBeOnlyCopy)
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", Content(rig)));
        string path = rig.Folder.File("b.qcow2");
        FileTargetOptions options = Options(path, ImageFormat.Qcow2, ImageCompression.None) with { MayBeOnlyCopy = mayBeOnlyCopy };

        await using (BackupWriter writer = await FileBackup.BeginAsync(options, session))
        {
            Assert.Equal(mayBeOnlyCopy, File.Exists(path + ".partial" + JournalExtension));
        }

        Assert.Empty(Directory.GetFiles(rig.Folder.Path, "b.qcow2*"));
        await using (BackupWriter writer = await FileBackup.BeginAsync(options, session))
        {
            foreach (SnapshotChunk chunk in await Rig.ChunksAsync(session))
            {
                await writer.WriteAsync(chunk);
            }

            _ = await writer.CompleteAsync();
        }

        Assert.Equal(
            ["b.qcow2", "b.qcow2.json"], Directory.GetFiles(rig.Folder.Path, "b.qcow2*").Select(file => Path.GetFileName(file)).Order());
    }

    private static SnapshotReadOptions Consuming => new() { ChunkSizeBytes = 256 * 1024, DiscardConsumed = true };

    private static FileTargetOptions Options(string path, ImageFormat format, ImageCompression compression) => new()
    {
        Path = path,
        Image = new ImageCreateOptions { Format = format, Compression = compression },
        MayBeOnlyCopy = true,
    };

    // Half of it does not get smaller, and none of it is zero.
    private static byte[] Content(Rig rig)
    {
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        for (int at = 0; at < SizeBytes; at += 128 * 1024)
        {
            content.AsSpan(at, 64 * 1024).Fill((byte)(1 + (at % 251)));
        }

        return content;
    }

    private static async Task<List<BlockRange>> ConsumeHalfAsync(Session session, BackupWriter writer)
    {
        await using SnapshotRead read = new(session, Consuming);
        while (session.ConsumedBytes < SizeBytes / 2 && await read.NextAsync() is { } chunk)
        {
            await writer.WriteAsync(chunk);
        }

        // The flush of the first chunk may take longer than all reads.
        await WaitAsync(() => session.ConsumedBytes != 0);
        return
        [
            .. session.GetRuns().Where(run => run.State == SnapshotRunState.Consumed)
                .Select(run => new BlockRange(run.OffsetBytes, run.LengthBytes)),
        ];
    }

    private static async Task AssertHoldsAsync(string path, ImageFormat format, byte[] content, List<BlockRange> ranges)
    {
        ImageReport report = await Image.CheckAsync(path, format, ImageRepair.None, CancellationToken.None);
        Assert.Equal(0, report.CorruptionCount);
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions { Format = format, IsReadOnly = true });
        await using (node)
        {
            Assert.NotEmpty(ranges);
            foreach (BlockRange range in ranges)
            {
                byte[] found = new byte[range.LengthBytes];
                await node.ReadAsync(range.OffsetBytes, found, CancellationToken.None);
                Assert.True(content.AsSpan((int)range.OffsetBytes, found.Length).SequenceEqual(found), $"{range}");
            }
        }
    }

    private static async Task WaitAsync(Func<bool> hasCome)
    {
        while (!hasCome())
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    // A file and its journal as they are at one moment, into which no write falls. Both keep their files, because the journal knows the
    // image's and its own: it is out of the way while the writer ends, which would remove it.
    private sealed record Killed(string Path, byte[] Image, byte[]? Journal)
    {
        public static Killed Take(string path)
        {
            (byte[] image, byte[]? journal) = Read(path);
            while (Read(path) is var again && !IsSame((image, journal), again))
            {
                (image, journal) = again;
            }

            if (journal is not null)
            {
                File.Move(path + JournalExtension, path + Aside);
            }

            return new Killed(path, image, journal);
        }

        public void PutBack()
        {
            Write(Path, Image);
            if (Journal is not null)
            {
                Write(Path + Aside, Journal);
                File.Move(Path + Aside, Path + JournalExtension);
            }
        }

        private static (byte[] Image, byte[]? Journal) Read(string path) => (
            LockedFile.Read(path), File.Exists(path + JournalExtension) ? LockedFile.Read(path + JournalExtension) : null);

        private static bool IsSame((byte[] Image, byte[]? Journal) one, (byte[] Image, byte[]? Journal) other) =>
            one.Image.AsSpan().SequenceEqual(other.Image) && one.Journal.AsSpan().SequenceEqual(other.Journal);

        private static void Write(string path, byte[] content)
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Write);
            stream.Write(content);
            stream.SetLength(content.Length);
        }
    }

    private sealed class TargetThatSurvives(IBlockNode image) : IBackupTarget
    {
        private volatile bool _survives = true;

        public TargetTraits Traits { get; } = new() { Destination = "a target", ReadsAsZero = true, WritesAtOnce = 1 };

        public IBlockNode Image => image;

        public bool SurvivesKill
        {
            get => _survives;
            set => _survives = value;
        }

        public ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken) =>
            new((BackupPoint?)null);

        public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
        {
            await image.DisposeAsync();
            return null;
        }
    }
}
