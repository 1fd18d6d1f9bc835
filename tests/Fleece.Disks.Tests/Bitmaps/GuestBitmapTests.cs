// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Bitmaps that QEMU made for the backups of a guest, in an image that is mounted here: their names say what the bits count from,
/// so they record and nothing else happens to them.</summary>
public sealed class GuestBitmapTests : IAsyncDisposable
{
    private const long G = 65536;
    private const long SizeBytes = 640 * G;
    private const string Guests = "daily@3f0a5e0c5a0b4d6e9a570d6f3c6b1a11";
    private const string Pending = $"{Guests}+";
    private const string Ours = "ours";

    private readonly Rig _rig = new();

    public static TheoryData<string> Names => [Guests, Pending];

    private string ImagePath => _rig.Folder.File("vm.qcow2");

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Nothing_that_changes_what_the_bits_count_from_is_allowed(string name)
    {
        Disk disk = await MountAsync(name);
        Func<Task>[] changes =
        [
            () => disk.Bitmaps.ClearAsync(name).AsTask(),
            () => disk.Bitmaps.DisableAsync(name).AsTask(),
            () => disk.Bitmaps.EnableAsync(name).AsTask(),
            () => disk.Bitmaps.MergeAsync(name, [Ours]).AsTask(),
            () => ((IFleeceable)disk).RestartBitmapAsync(name, default).AsTask(),
            () => disk.Bitmaps.CreateAsync($"other@{Guid.NewGuid():N}").AsTask(),
            () => Session.StartAsync([disk], new SessionOptions { Bitmap = name }, default).AsTask(),
            () => Session.StartAsync([disk], new SessionOptions { Bitmap = name, NextBitmap = "next" }, default).AsTask(),
        ];

        foreach (Func<Task> change in changes)
        {
            Assert.Equal(BlockErrors.InvalidArgument, (await Assert.ThrowsAsync<BlockException>(change)).Kind);
        }

        Assert.Empty(disk.Sessions);
        Assert.Equal(BitmapState.Recording, disk.Bitmaps.Find(name).State);
        Assert.Equal([1], DiskBitmapsTests.Units(disk.Bitmaps.Find(name)));
    }

    [Fact]
    public async Task One_that_is_disabled_can_not_be_enabled_and_can_be_looked_at()
    {
        Disk disk = await MountAsync(Guests, "--disable");

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => disk.Bitmaps.EnableAsync(Guests).AsTask());

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Session session = Assert.Single(await Session.StartAsync([disk], new SessionOptions { Bitmap = Guests }, default));
        await session.StopAsync();
        Assert.Equal(BitmapState.Disabled, disk.Bitmaps.Find(Guests).State);
    }

    [Fact]
    public async Task It_records_and_qemu_sees_the_writes()
    {
        Peer.Need("nbdinfo", "qemu-nbd");
        Disk disk = await MountAsync(Guests);

        await DiskBitmapsTests.WriteAsync(disk, 20);
        await disk.Bitmaps.MergeAsync(Ours, [Guests]);

        Assert.Equal([1, 20], DiskBitmapsTests.Units(disk.Bitmaps.Find(Ours)));
        await disk.DisposeAsync();
        string map = await Peer.RunAsync(
            "nbdinfo", $"--map=qemu:dirty-bitmap:{Guests}", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", Guests, ImagePath, "]");
        Assert.Equal(
            [1 * G, 20 * G],
            map.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Where(run => run[2] == "1")
                .Select(run => long.Parse(run[0], CultureInfo.InvariantCulture)));
    }

    [Fact]
    public async Task It_may_be_removed()
    {
        Disk disk = await MountAsync(Guests);

        await disk.Bitmaps.RemoveAsync(Guests);

        disk = await _rig.RemountAsync(disk);
        Assert.Equal(Ours, Assert.Single(disk.Bitmaps.All).Name);
    }

    // QEMU's bitmap has the unit 1, and ours was made after that.
    private async Task<Disk> MountAsync(string name, params string[] how)
    {
        Peer.Need("qemu-img", "qemu-io");
        await Peer.RunAsync("qemu-img", "create", "-f", "qcow2", ImagePath, SizeBytes.ToString(CultureInfo.InvariantCulture));
        await Peer.RunAsync("qemu-img", ["bitmap", "--add", .. how, "-g", "64k", ImagePath, name]);
        await Peer.RunAsync("qemu-io", "-f", "qcow2", "-c", "write 64k 64k", ImagePath);
        await Peer.RunAsync("qemu-img", "bitmap", "--add", "-g", "64k", ImagePath, Ours);
        return await _rig.OpenAsync(ImagePath);
    }
}
