// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Disks;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Guests that stay connected and check their own data while sessions come and go under them.</summary>
public sealed class GuestTests
{
    private const int MiB = 1024 * 1024;

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task Fio_finds_all_it_wrote_while_sessions_come_and_go_and_nbdcopy_reads_each(ImageFormat format)
    {
        Peer.Need("fio", "nbdcopy");
        await using ServedDisk served = await ServedDisk.StartAsync(16 * MiB, format);
        using Process guest = Fio.StartVerifying(served, 16 * MiB, loops: 6);
        Task verified = Fio.AssertVerifiedAsync(guest);
        int rounds = 0;
        for (; !guest.HasExited; rounds++)
        {
            Session session = await served.StartSessionAsync(new SessionOptions { Name = $"round{rounds}" });
            string first = served.Folder.File("first.raw");
            string second = served.Folder.File("second.raw");
            await Peer.RunAsync("nbdcopy", served.UriOf(session), first);
            await Peer.RunAsync("nbdcopy", served.UriOf(session), second);
            Assert.Equal(await ServedDisk.DigestOfFileAsync(first), await ServedDisk.DigestOfFileAsync(second));
            await session.StopAsync();
        }

        await verified;
        Assert.True(rounds > 2, $"only {rounds} sessions");
    }

    [Fact]
    public async Task Qemu_io_stays_connected_and_writes_through_fifty_sessions()
    {
        Peer.Need("qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * MiB);
        await using QemuIo guest = QemuIo.Connect(served.Uri);
        await using QemuIo reader = QemuIo.Connect(served.Uri);
        await SayAsync(guest, "write -P 200 1M 64k");
        int before = 200;
        for (int round = 1; round <= 50; round++)
        {
            Session session = await served.StartSessionAsync();
            await SayAsync(guest, $"write -P {round} 1M 64k");
            await SayAsync(reader, $"read -P {round} 1M 64k");
            Assert.Equal(before, (await ServedDisk.ReadAsync(session))[MiB]);
            await session.StopAsync();
            before = round;
        }

        Assert.Empty(served.Disk.Sessions);
    }

    [Fact]
    public async Task Fio_stays_connected_and_finds_all_it_wrote_through_fifty_sessions()
    {
        Peer.Need("fio");
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(16 * MiB);
        await using ServedDisk disposal = served;
        using Process guest = Fio.StartVerifying(served, 16 * MiB, loops: 8);
        Task verified = Fio.AssertVerifiedAsync(guest);
        for (int round = 0; round < 50; round++)
        {
            Session session = await served.StartSessionAsync();
            await Wait.UntilAsync(() => session.CopiedBytes != 0 || guest.HasExited);
            Assert.False(guest.HasExited, $"the guest ended in round {round}");
            await session.StopAsync();
        }

        await verified;
    }

    private static async Task SayAsync(QemuIo guest, string command) =>
        Assert.Contains("65536/65536", await guest.DoAsync(command), StringComparison.Ordinal);
}
