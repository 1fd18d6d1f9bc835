// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Disks;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Cases D1, D2, B3, B5 and O2 of the conformance list: a client consumes a snapshot by TRIM. 1 MiB disk, full.</summary>
public sealed class DiscardConformance
{
    private const int DiskBytes = 1024 * 1024;

    [Theory]
    [InlineData("temp.raw")]
    [InlineData("temp.qcow2")]
    public async Task D1_consuming_after_the_guests_writes_leaves_temp_empty_and_nothing_to_read(string temp)
    {
        (ServedDisk served, Session session) = await StartAsync(temp);
        await using ServedDisk disposal = served;
        await QemuIo.RunAsync(served.Uri, "write -P 0xa5 0 1M");
        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M", "discard 0 1M");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 0 64k", QemuIo.NotPermitted);

        Assert.Equal(0, await DataRunsAsync(session));
    }

    [Theory]
    [InlineData("temp.raw")]
    [InlineData("temp.qcow2")]
    public async Task D2_what_was_consumed_is_not_copied_when_the_guest_writes_later(string temp)
    {
        (ServedDisk served, Session session) = await StartAsync(temp);
        await using ServedDisk disposal = served;
        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M", "discard 0 1M");

        await QemuIo.RunAsync(served.Uri, "write -P 0xa5 0 1M");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 0 64k", QemuIo.NotPermitted);
        Assert.Equal(0, session.CopiedBytes);
        Assert.Equal(0, await DataRunsAsync(session));
    }

    // QEMU 7.2 ends on the first of these (hazard 12). A cluster of which a part is left stays readable as a whole.
    [Theory]
    [InlineData("discard 65537 65534")]
    [InlineData("discard 68k 8k")]
    [InlineData("discard 3 1")]
    public async Task B3_a_discard_within_a_cluster_succeeds_and_the_cluster_stays_readable(string discard)
    {
        (ServedDisk served, Session session) = await StartAsync("temp.raw");
        await using ServedDisk disposal = served;

        await QemuIo.RunAsync(served.UriOf(session), discard, "read -P 0x5a 0 1M");
    }

    [Fact]
    public async Task B3_a_discard_over_clusters_consumes_only_the_whole_ones()
    {
        (ServedDisk served, Session session) = await StartAsync("temp.raw");
        await using ServedDisk disposal = served;

        await QemuIo.RunAsync(served.UriOf(session), "discard 60k 200k", "read -P 0x5a 0 64k", "read -P 0x5a 256k 768k");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 64k 1", QemuIo.NotPermitted);
        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 262143 1", QemuIo.NotPermitted);
    }

    [Fact]
    public async Task B5_O2_a_disk_with_a_partial_last_cluster_is_copied_read_and_consumed_to_its_end()
    {
        Peer.Need("qemu-io", "qemu-img");
        await using ServedDisk served = await ServedDisk.StartAsync(DiskBytes + 512);
        await QemuIo.RunAsync(served.Uri, "write -P 0x5a 0 1049088");
        Session session = await served.StartSessionAsync();
        await QemuIo.RunAsync(served.Uri, "write -P 0xa5 1M 512");

        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1049088", "discard 1M 512");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 1M 512", QemuIo.NotPermitted);
        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M");
        Assert.Equal(0, await DataRunsAsync(session));
    }

    private static async Task<(ServedDisk Served, Session Session)> StartAsync(string temp)
    {
        Peer.Need("qemu-io", "qemu-img");
        ServedDisk served = await ServedDisk.StartAsync(DiskBytes);
        await QemuIo.RunAsync(served.Uri, "write -P 0x5a 0 1M");
        return (served, await served.StartSessionAsync(new SessionOptions { TempPath = served.Folder.File(temp) }));
    }

    private static async Task<int> DataRunsAsync(Session session)
    {
        // QEMU may not open what the session writes (docs/locks.md). The holes of a copy are those of the original.
        string copy = session.TempPath + ".copy";
        await Peer.RunAsync("cp", "--sparse=auto", session.TempPath, copy);
        string format = session.TempPath.EndsWith(".qcow2", StringComparison.Ordinal) ? "qcow2" : "raw";
        using JsonDocument map = JsonDocument.Parse(
            await Peer.RunAsync("qemu-img", "map", "--output=json", "-f", format, copy));
        return map.RootElement.EnumerateArray().Count(run => run.GetProperty("data").GetBoolean());
    }
}
