// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Disks;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Dirty bitmaps as clients see them: what qemu-io writes, nbdinfo finds marked.</summary>
public sealed class BitmapTests
{
    private const int KiB = 1024;
    private const int MiB = 1024 * KiB;
    private const string Daily = "qemu:dirty-bitmap:daily";

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task Nbdinfo_maps_what_a_guest_wrote_zeroed_and_discarded(ImageFormat format)
    {
        Peer.Need("nbdinfo", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB, format);
        await served.Disk.Bitmaps.CreateAsync("daily");
        await QemuIo.RunAsync(served.Uri, "write -P 1 1M 1", "write -z 2M 64k", "discard 3M 64k");

        Assert.Equal(
            [
                (0, MiB, 0), (MiB, 64 * KiB, 1), (MiB + 64 * KiB, MiB - 64 * KiB, 0), (2 * MiB, 64 * KiB, 1),
                (2 * MiB + 64 * KiB, MiB - 64 * KiB, 0), (3 * MiB, 64 * KiB, 1), (3 * MiB + 64 * KiB, 5 * MiB - 64 * KiB, 0),
            ],
            await MapAsync(served.Uri));
    }

    [Fact]
    public async Task The_snapshot_of_a_session_shows_its_bitmap_as_it_was_at_the_instant()
    {
        Peer.Need("nbdinfo", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB);
        await served.Disk.Bitmaps.CreateAsync("daily");
        await QemuIo.RunAsync(served.Uri, "write -P 1 1M 64k");
        Session session = await served.StartSessionAsync(new SessionOptions { Bitmap = "daily", NextBitmap = "daily2" });
        await QemuIo.RunAsync(served.Uri, "write -P 2 4M 64k");

        Assert.Equal([(0, MiB, 0), (MiB, 64 * KiB, 1), (MiB + 64 * KiB, 7 * MiB - 64 * KiB, 0)], await MapAsync(served.UriOf(session)));
        Assert.Equal(
            [(0, 4 * MiB, 0), (4 * MiB, 64 * KiB, 1), (4 * MiB + 64 * KiB, 4 * MiB - 64 * KiB, 0)],
            await MapAsync(served.Uri, "qemu:dirty-bitmap:daily2"));
    }

    [Fact]
    public async Task Nbdinfo_lists_the_contexts_of_a_disks_bitmaps()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        await served.Disk.Bitmaps.CreateAsync("daily");
        await served.Disk.Bitmaps.CreateAsync("weekly", isEnabled: false);

        using JsonDocument document = JsonDocument.Parse(await Peer.RunAsync("nbdinfo", "--json", served.Uri));

        Assert.Equal(
            ["base:allocation", "qemu:allocation-depth", Daily, "qemu:dirty-bitmap:weekly"],
            document.RootElement.GetProperty("exports")[0].GetProperty("contexts").EnumerateArray().Select(context => context.GetString()));
    }

    private static async Task<(int Offset, int Length, int Type)[]> MapAsync(string uri, string context = Daily)
    {
        using JsonDocument document = JsonDocument.Parse(await Peer.RunAsync("nbdinfo", $"--map={context}", "--json", uri));
        return
        [
            .. document.RootElement.EnumerateArray().Select(run => (
                run.GetProperty("offset").GetInt32(), run.GetProperty("length").GetInt32(), run.GetProperty("type").GetInt32())),
        ];
    }
}
