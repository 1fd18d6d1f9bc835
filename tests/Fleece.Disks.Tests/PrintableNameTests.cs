// SPDX-License-Identifier: MIT
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Tests.Bitmaps;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>A stranger's text is printable in every property, and exact where it is stored and compared.</summary>
public sealed class PrintableNameTests
{
    private const string Evil = "e\u001b[31mv\u0007";
    private const string Shown = "e\\u001b[31mv\\u0007";

    [Fact]
    public async Task A_bitmap_is_shown_printable_stored_as_it_was_and_found_by_both_names()
    {
        await using Rig rig = new();
        string path = await MakeImageAsync(rig, Evil);

        Disk disk = await rig.OpenAsync(path);
        Bitmap bitmap = Assert.Single(disk.Bitmaps.All);
        Assert.Equal((Shown, Shown), (bitmap.Name, bitmap.ToString()));
        Assert.All([Evil, Shown, Evil.ToUpperInvariant(), Shown.ToUpperInvariant()], name => Assert.Same(bitmap, disk.Bitmaps.Find(name)));
        await DiskBitmapsTests.WriteAsync(disk, 1);
        await disk.DisposeAsync();

        Assert.Contains("\"name\": \"e\\u001B[31mv\\u0007\"", await DescribeAsync(path), StringComparison.OrdinalIgnoreCase);
        disk = await rig.OpenAsync(path);
        Assert.Equal([1], DiskBitmapsTests.Units(disk.Bitmaps.Find(Shown)));
        await disk.Bitmaps.RemoveAsync(Shown);
        Assert.Empty(disk.Bitmaps.All);
    }

    [Fact]
    public async Task A_name_means_the_bitmap_that_has_it_before_one_that_is_shown_so()
    {
        await using Rig rig = new();
        string path = await MakeImageAsync(rig, Evil, Shown);
        Disk disk = await rig.OpenAsync(path);

        await disk.Bitmaps.RemoveAsync(Shown);
        await disk.DisposeAsync();

        Assert.Equal([Evil], (await rig.OpenAsync(path)).Bitmaps.All.Select(bitmap => bitmap.ExactName));
    }

    [Fact]
    public async Task A_session_pins_a_bitmap_by_its_shown_name_and_gives_it_back_under_its_own()
    {
        await using Rig rig = new();
        Disk disk = await rig.OpenAsync(await MakeImageAsync(rig, Evil));

        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = Shown });
        Assert.Equal(Shown, session.Bitmap!.Name);
        await session.StopAsync(isSuccess: true);

        Assert.Equal([Evil], disk.Bitmaps.All.Select(bitmap => bitmap.ExactName));
    }

    private static Task<string> DescribeAsync(string path) => Peer.RunAsync("qemu-img", "info", "--output=json", path);

    private static async Task<string> MakeImageAsync(Rig rig, params string[] names)
    {
        Peer.Need("qemu-img");
        string path = rig.Folder.File("vm.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-f", "qcow2", path, "16M");
        foreach (string name in names)
        {
            await Peer.RunAsync("qemu-img", "bitmap", "--add", "-g", "64k", path, name);
        }

        return path;
    }
}
