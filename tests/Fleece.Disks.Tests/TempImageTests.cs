// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Exports;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.Nbd;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Old data that goes into an image with metadata of its own.</summary>
[Collection(nameof(TempImageTests))]
[CollectionDefinition(nameof(TempImageTests), DisableParallelization = true)]
public sealed class TempImageTests
{
    private const int SizeBytes = 64 * 1024 * 1024;
    private const int StrideBytes = 256 * 1024;

    [Theory]
    [InlineData(".raw")]
    [InlineData(".qcow2")]
    [InlineData(".vhd")]
    [InlineData(".vhdx")]
    public async Task A_guest_flushes_its_disk_and_never_temp(string suffix)
    {
        await using Rig rig = new();
        string tempPath = rig.Folder.File("temp" + suffix);
        await Image.CreateAsync(
            tempPath, new ImageCreateOptions { Format = Image.FormatForNewFile(tempPath), SizeBytes = SizeBytes });

        await AssertNeverFlushedAsync(rig, tempPath, tempPath);
    }

    [Fact]
    public async Task The_external_data_file_of_a_temp_image_is_not_flushed_either()
    {
        await using Rig rig = new();
        string tempPath = rig.Folder.File("temp.qcow2");
        string dataPath = rig.Folder.File("temp.data");
        await Image.CreateAsync(
            tempPath, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = SizeBytes, DataFilePath = dataPath });

        await AssertNeverFlushedAsync(rig, tempPath, dataPath);
    }

    [Fact]
    public async Task A_temp_image_of_the_users_is_whole_when_its_session_has_stopped()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        string tempPath = rig.Folder.File("temp.qcow2");
        await Image.CreateAsync(tempPath, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = SizeBytes });
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = tempPath });
        await disk.Device.WriteAsync(0, rig.Seeds.Bytes(SizeBytes / 2));

        await session.StopAsync();

        ImageReport report = await Image.CheckAsync(tempPath, ImageFormat.Qcow2, ImageRepair.None, CancellationToken.None);
        Assert.True(report.IsClean);
    }

    [Fact]
    public async Task Of_two_sessions_that_begin_at_one_moment_at_most_one_gets_a_live_disk_as_temp()
    {
        await using Rig rig = new();
        Disk[] disks = [await rig.AddDiskAsync("x", rig.Seeds.Bytes(64 * 1024)), await rig.AddDiskAsync("y", rig.Seeds.Bytes(64 * 1024))];
        string storePath = rig.Folder.File("store.raw");
        await File.WriteAllBytesAsync(storePath, new byte[64 * 1024]);
        await using MountedDisks disksOfServer = new();
        DiskExport export = await disksOfServer.Exports.PublishAsync(
            await disksOfServer.MountAsync(storePath, "store"),
            new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={rig.Folder.File("store.sock")}") });
        SessionOptions options = new() { TempPath = export.Uri.ToString() };

        for (int round = 0; round < 20; round++)
        {
            Session?[] sessions = await Task.WhenAll(disks.Select(disk => Task.Run(() => TryStartAsync(disk, options))));
            Assert.Contains(null, sessions);
            await Task.WhenAll(sessions.OfType<Session>().Select(session => session.StopAsync()));
            await WaitAsync(() => export.GuestCount == 0);
        }
    }

    private static async Task<Session?> TryStartAsync(Disk disk, SessionOptions options)
    {
        try
        {
            return (await Session.StartAsync([disk], options))[0];
        }
        catch (BlockException e) when (e.Kind == BlockErrors.InUse)
        {
            return null;
        }
    }

    private static async Task WaitAsync(Func<bool> hasCome)
    {
        while (!hasCome())
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    private static async Task AssertNeverFlushedAsync(Rig rig, string tempPath, string filePath)
    {
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = tempPath });

        string[] calls = await SystemCalls.WatchAsync(rig.Folder, "fsync,fdatasync,pwrite64", async () =>
        {
            byte[] data = rig.Seeds.Bytes(4096);
            for (int offsetBytes = 0; offsetBytes < SizeBytes; offsetBytes += StrideBytes)
            {
                await disk.Device.WriteAsync(offsetBytes, data, WriteFlags.None);
            }

            await disk.Device.FlushAsync();
            Assert.Equal(content, await Rig.ReadAllAsync(session));
            await session.StopAsync();
        });

        Assert.True(SystemCalls.Find(calls, "sync(", $"<{disk.Path}>") >= 0, "The guest's flush is not in the log.");
        Assert.True(SystemCalls.Find(calls, "pwrite64(", $"<{filePath}>") >= 0, "The old data is not in the log.");
        Assert.Equal(-1, SystemCalls.Find(calls, "sync(", $"<{filePath}>"));
    }
}
