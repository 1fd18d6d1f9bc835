// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Disks;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>libnbd's nbdcopy, in both directions.</summary>
public sealed class NbdCopyTests
{
    private const int MiB = 1024 * 1024;

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Nbdcopy_fills_the_disk_over_one_connection_or_several(int connectionCount)
    {
        Peer.Need("nbdcopy");
        await using ServedDisk served = await ServedDisk.StartAsync(32 * MiB);
        byte[] content = served.Seeds.Bytes(32 * MiB);
        string source = served.Folder.File("source.raw");
        await File.WriteAllBytesAsync(source, content);

        await Peer.RunAsync("nbdcopy", $"--connections={connectionCount}", "--flush", source, served.Uri);

        Assert.Equal(ServedDisk.Digest(content), ServedDisk.Digest(await served.ReadAsync()));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Nbdcopy_reads_the_instant_while_a_guest_overwrites_the_disk(int connectionCount)
    {
        Peer.Need("nbdcopy", "fio");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(32 * MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();
        using Process guest = Fio.StartEndless(served);
        await Wait.UntilAsync(() => session.CopiedBytes > MiB);

        string copy = served.Folder.File("copy.raw");
        await Peer.RunAsync("nbdcopy", $"--connections={connectionCount}", served.UriOf(session), copy);

        Assert.False(guest.HasExited);
        await Fio.EndAsync(guest);
        Assert.Equal(ServedDisk.Digest(content), await ServedDisk.DigestOfFileAsync(copy));
        Assert.NotEqual(ServedDisk.Digest(content), ServedDisk.Digest(await served.ReadAsync()));
    }

    // nbdcopy reads holes by their status alone, so a wrong status would be a wrong copy.
    [Fact]
    public async Task Nbdcopy_keeps_the_holes_of_a_sparse_snapshot()
    {
        Peer.Need("nbdcopy", "qemu-io", "qemu-img");
        await using ServedDisk served = await ServedDisk.StartAsync(64 * MiB);
        await QemuIo.RunAsync(served.Uri, "write -P 1 1M 64k", "write -P 2 40M 1M");
        Session session = await served.StartSessionAsync();
        await QemuIo.RunAsync(served.Uri, "write -P 3 0 2M", "discard 40M 1M");

        string copy = served.Folder.File("copy.raw");
        await Peer.RunAsync("nbdcopy", served.UriOf(session), copy);

        Assert.Equal(ServedDisk.Digest(await ServedDisk.ReadAsync(session)), await ServedDisk.DigestOfFileAsync(copy));
        string map = await Peer.RunAsync("qemu-img", "map", "-f", "raw", copy);
        Assert.Equal(2, map.Split('\n').Count(line => line.StartsWith("0x", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Several_nbdcopies_read_one_snapshot_at_once()
    {
        Peer.Need("nbdcopy");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(16 * MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();

        string[] copies = [.. Enumerable.Range(0, 4).Select(number => served.Folder.File($"copy{number}.raw"))];
        await Task.WhenAll(copies.Select(copy => Peer.RunAsync("nbdcopy", served.UriOf(session), copy)));

        foreach (string copy in copies)
        {
            Assert.Equal(ServedDisk.Digest(content), await ServedDisk.DigestOfFileAsync(copy));
        }
    }

    // A copy of what is left would be a backup with garbage in it; better none.
    [Fact]
    public async Task Nbdcopy_fails_on_a_snapshot_of_which_a_part_was_consumed()
    {
        Peer.Need("nbdcopy", "qemu-io");
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(8 * MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();
        await QemuIo.RunAsync(served.UriOf(session), "discard 4M 64k");

        PeerResult result = await Peer.TryRunAsync("nbdcopy", served.UriOf(session), served.Folder.File("copy.raw"));

        Assert.NotEqual(0, result.ExitCode);
    }
}
