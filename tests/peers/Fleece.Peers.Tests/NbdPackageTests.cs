// SPDX-License-Identifier: MIT
using Fleece.TestKit;
namespace Fleece.Peers.Tests;

/// <summary>The NBD project's own protocol tester.</summary>
public sealed class NbdPackageTests
{
    // Its sources build nbd-tester-client for "make check" and install it nowhere: Debian's packages nbd-client and nbd-server
    // hold the client, the server, nbd-trdump and nbd-trplay. Somebody who built it finds it tested here.
    [Fact]
    public async Task The_NBD_projects_tester_reads_a_whole_disk()
    {
        Assert.SkipUnless(
            Peer.Has("nbd-tester-client"), "nbd-tester-client is not installed here; Debian's packages of NBD leave it out");
        await using ServedDisk served = await ServedDisk.StartAsync(4 * 1024 * 1024);
        Nbd.NbdUri tcp = await served.PublishOverTcpAsync();

        await Peer.RunAsync("nbd-tester-client", "-N", "vm", "127.0.0.1", $"{tcp.Port}");
    }
}
