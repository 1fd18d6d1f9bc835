// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Nbd;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>What libnbd's nbdinfo sees of a disk and of its snapshots.</summary>
public sealed class NbdInfoTests
{
    private const int KiB = 1024;
    private const int MiB = 1024 * KiB;

    [Fact]
    public async Task Nbdinfo_sees_the_size_and_the_abilities_of_a_disk()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB + 512);

        JsonElement export = await InfoAsync(served.Uri);

        Assert.Equal(8 * MiB + 512, export.GetProperty("export-size").GetInt64());
        Assert.Equal("vm", export.GetProperty("export-name").GetString());
        AssertAbilities(
            export,
            can: ["can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn", "can_cache", "can_df"],
            cannot: ["is_read_only"]);
    }

    // Announced as writable although writes are refused: only such an export may offer to be consumed by TRIM.
    [Fact]
    public async Task Nbdinfo_sees_that_a_snapshot_can_be_consumed_and_offers_the_access_context()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        Session session = await served.StartSessionAsync();

        JsonElement export = await InfoAsync(served.UriOf(session));

        AssertAbilities(export, can: ["can_trim", "can_multi_conn"], cannot: ["can_zero", "can_fua", "is_read_only"]);
        Assert.Equal(
            ["base:allocation", "fleece:access"],
            export.GetProperty("contexts").EnumerateArray().Select(context => context.GetString()));
    }

    [Fact]
    public async Task Nbdinfo_lists_a_disk_and_the_snapshots_that_exist_at_that_moment()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        Session first = await served.StartSessionAsync(new SessionOptions { Name = "first" });
        await served.StartSessionAsync(new SessionOptions { Name = "second" });
        Assert.Equal(["vm", "vm/first", "vm/second"], await ListAsync(served.Uri));

        await first.StopAsync();

        Assert.Equal(["vm", "vm/second"], await ListAsync(served.Uri));
    }

    [Fact]
    public async Task Nbdinfo_reaches_the_same_disk_over_TCP()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        NbdUri tcp = await served.PublishOverTcpAsync();

        Assert.Equal("1048576", (await Peer.RunAsync("nbdinfo", "--size", tcp.ToString())).Trim());
    }

    [Fact]
    public async Task The_map_of_a_disk_tells_data_from_holes()
    {
        Peer.Need("nbdinfo", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB);
        await QemuIo.RunAsync(served.Uri, "write -P 1 1M 64k", "write -P 2 4M 1M");

        Assert.Equal(
            [(0, MiB, 3), (MiB, 64 * KiB, 0), (MiB + 64 * KiB, 3 * MiB - 64 * KiB, 3), (4 * MiB, MiB, 0), (5 * MiB, 3 * MiB, 3)],
            await MapAsync(served.Uri));
    }

    // Where QEMU fails the query, and with it the whole map, Fleece says "a hole, but not zeros".
    [Fact]
    public async Task The_map_of_a_limited_snapshot_is_walked_to_its_end_and_shows_what_is_refused_as_holes()
    {
        Peer.Need("nbdinfo", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB);
        await QemuIo.RunAsync(served.Uri, "write -P 1 1M 64k", "write -P 2 4M 1M");
        Session session = await served.StartSessionAsync(
            new SessionOptions { Ranges = [new BlockRange(0, 2 * MiB), new BlockRange(4 * MiB, MiB)] });

        Assert.Equal(
            [
                (0, MiB, 3), (MiB, 64 * KiB, 0), (MiB + 64 * KiB, MiB - 64 * KiB, 3), (2 * MiB, 2 * MiB, 1), (4 * MiB, MiB, 0),
                (5 * MiB, 3 * MiB, 1),
            ],
            await MapAsync(served.UriOf(session)));
    }

    [Fact]
    public async Task The_access_map_tells_denied_from_consumed()
    {
        Peer.Need("nbdinfo", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB);
        Session session = await served.StartSessionAsync(new SessionOptions { Ranges = [new BlockRange(0, 4 * MiB)] });
        await QemuIo.RunAsync(served.UriOf(session), "discard 1M 64k");

        Assert.Equal(
            [(0, MiB, 0), (MiB, 64 * KiB, 2), (MiB + 64 * KiB, 3 * MiB - 64 * KiB, 0), (4 * MiB, 4 * MiB, 1)],
            await MapAsync(served.UriOf(session), "fleece:access"));
    }

    [Fact]
    public async Task An_export_whose_name_begins_with_a_slash_is_published_and_reached()
    {
        Peer.Need("nbdinfo");
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        string uri = await served.PublishAsync("/vm");

        Assert.StartsWith("nbd+unix:////vm?", uri, StringComparison.Ordinal);
        Assert.Equal(["/vm"], await ListAsync(uri));
        Assert.Equal(MiB, (await InfoAsync(uri)).GetProperty("export-size").GetInt32());
    }

    private static async Task<JsonElement> InfoAsync(string uri) =>
        (await ExportsAsync("--json", uri))[0];

    private static async Task<string?[]> ListAsync(string uri) =>
        [.. (await ExportsAsync("--list", "--json", uri)).Select(export => export.GetProperty("export-name").GetString())];

    private static async Task<JsonElement[]> ExportsAsync(params string[] arguments)
    {
        using JsonDocument document = JsonDocument.Parse(await Peer.RunAsync("nbdinfo", arguments));
        return [.. document.RootElement.GetProperty("exports").Clone().EnumerateArray()];
    }

    private static async Task<(int Offset, int Length, int Type)[]> MapAsync(string uri, string context = "base:allocation")
    {
        using JsonDocument document = JsonDocument.Parse(await Peer.RunAsync("nbdinfo", $"--map={context}", "--json", uri));
        return
        [
            .. document.RootElement.EnumerateArray().Select(run => (
                run.GetProperty("offset").GetInt32(), run.GetProperty("length").GetInt32(), run.GetProperty("type").GetInt32())),
        ];
    }

    private static void AssertAbilities(JsonElement export, string[] can, string[] cannot)
    {
        Assert.All(can, ability => Assert.True(export.GetProperty(ability).GetBoolean(), ability));
        Assert.All(cannot, ability => Assert.False(export.GetProperty(ability).GetBoolean(), ability));
    }
}
