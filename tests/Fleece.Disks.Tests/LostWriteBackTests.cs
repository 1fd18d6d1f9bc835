// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Resuming;
using Fleece.Disks.Tests.Resuming;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Storage beneath the image, or beneath a session's log, that can't store what the system has accepted, and no flush that tells
/// of it.</summary>
public sealed class LostWriteBackTests : IDisposable
{
    private const int SizeBytes = 24 << 20;
    private const int PieceBytes = 1 << 20;
    private const int GranuleBytes = 512;

    private readonly StorageThatFills _storage = new(staysWritable: true);

    public void Dispose() => _storage.Dispose();

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task An_image_that_the_system_could_not_store_fails_its_disk_without_a_flush(ImageFormat format)
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        using TempFolder temp = new();
        string path = Path.Combine(_storage.Path, "vm.image");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes });
        Disk disk = await Disk.OpenAsync(path, "vm", new ImageOpenOptions { Format = format });
        await disk.Bitmaps.CreateAsync("daily");
        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily", TempPath = temp.Path });
        _storage.Fill(exceptBytes: 4 * PieceBytes);
        await OverwriteAsync(disk);
        disk.Witness.Beat();
        Assert.Equal(SessionState.Active, session.State);

        await _storage.WriteBackAsync(path);
        disk.Witness.Beat();

        Assert.Equal(DiskStatus.Failed, disk.OperationalStatus);
        Assert.Contains("could not store", disk.FailureReason, StringComparison.Ordinal);
        Assert.Contains(path, disk.FailureReason, StringComparison.Ordinal);
        Assert.Equal(SessionState.Broken, session.State);
        Assert.Equal(BitmapState.Untrusted, disk.Bitmaps.Find("daily").State);
        Assert.True(disk.Storage.LostWrites.IsUntoldHere);
        Assert.Equal(format == ImageFormat.Raw, disk.Storage.JournalFault is null);
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.FlushAsync());
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.FlushAsync());
        await Assert.ThrowsAsync<BlockException>(async () => await disk.DisposeAsync());
    }

    [Fact]
    public async Task A_mount_hears_of_what_the_system_could_not_store_before_it()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "vm.raw");
        await using (FileStream file = new(path, FileMode.Create))
        {
            file.SetLength(SizeBytes);
        }

        _storage.Fill(exceptBytes: 4 * PieceBytes);
        byte[] content = new byte[SizeBytes];
        Array.Fill(content, (byte)1);
        await File.WriteAllBytesAsync(path, content, TestContext.Current.CancellationToken);
        await _storage.WriteBackAsync(path);

        Disk disk = await Disk.OpenAsync(path, "vm");

        Assert.Equal(DiskStatus.Failed, disk.OperationalStatus);
        Assert.True(disk.Storage.LostWrites.IsUntoldHere);
        await Assert.ThrowsAsync<BlockException>(async () => await disk.DisposeAsync());
    }

    [Fact]
    public async Task A_log_that_the_system_could_not_store_breaks_its_session_which_no_later_process_finds()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        await using Rig rig = new();
        SessionFolder folder = SessionFolder.Open(Path.Combine(_storage.Path, "sessions"));
        string path = rig.Folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, rig.Seeds.Bytes(SizeBytes), TestContext.Current.CancellationToken);
        await using Disk disk = await Disk.OpenAsync(path, "vm", folder: folder);
        Session session = await Rig.StartAsync(
            disk, new SessionOptions { TempPath = rig.Folder.Path, Folder = folder, GranuleSizeBytes = GranuleBytes });
        Assert.True(session.CanResume, session.CannotResumeReason);
        string logPath = folder.List().Single().Path;
        _storage.Fill(exceptBytes: 0);
        disk.Witness.Beat();
        Assert.Equal(SessionState.Active, session.State);
        byte[] granule = new byte[GranuleBytes];
        for (long at = 0; at < SizeBytes; at += 6 * GranuleBytes)
        {
            await disk.Device.WriteAsync(at, granule);
            if (at == SizeBytes / 2)
            {
                // The loop device takes a write that finds some room for a whole one. The next one finds none.
                await _storage.WriteBackAsync(logPath);
            }
        }

        await _storage.WriteBackAsync(logPath);
        disk.Witness.Beat();

        Assert.Equal(SessionState.Broken, session.State);
        Assert.Contains("could not store", session.BrokenBy, StringComparison.Ordinal);
        Assert.Contains(logPath, session.BrokenBy, StringComparison.Ordinal);
        Assert.Null(SessionMarker.Read(path));
        Assert.True(File.Exists(logPath));
        await session.StopAsync();
    }

    [Fact]
    public async Task A_log_that_the_system_could_not_store_after_its_process_is_not_believed()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        using LogRig rig = new(Path.Combine(_storage.Path, "sessions"));
        Guid id;
        string path;
        using (SessionLog log = rig.Create())
        {
            (id, path) = (log.Description.Id, log.Path);
            _storage.Fill(exceptBytes: 0);
            for (int granule = 0; granule < 10_000; granule++)
            {
                Assert.Null(log.NoteDone(new GranuleRun(2 * granule, (2 * granule) + 1), hasData: true));
                if (granule == 5_000)
                {
                    await _storage.WriteBackAsync(path); // As above.
                }
            }
        }

        await _storage.WriteBackAsync(path);

        Assert.Null(rig.Sessions.Find(id)!.TakeOver(out string? fault));
        Assert.Contains("could not store", fault, StringComparison.Ordinal);
    }

    private static async Task OverwriteAsync(Disk disk)
    {
        byte[] piece = new byte[PieceBytes];
        Array.Fill(piece, (byte)0xFF);
        for (long at = 0; at < SizeBytes; at += PieceBytes)
        {
            await disk.Device.WriteAsync(at, piece);
        }
    }
}
