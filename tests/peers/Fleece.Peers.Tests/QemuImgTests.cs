// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Disks;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>qemu-img over unix sockets and TCP.</summary>
public sealed class QemuImgTests
{
    private const int MiB = 1024 * 1024;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Qemu_img_knows_the_size_of_a_disk_by_its_address(bool isTcp)
    {
        Peer.Need("qemu-img");
        await using ServedDisk served = await ServedDisk.StartAsync(5 * MiB + 512);
        string uri = isTcp ? (await served.PublishOverTcpAsync()).ToString() : served.Uri;

        using JsonDocument info = JsonDocument.Parse(await Peer.RunAsync("qemu-img", "info", "--output=json", uri));

        Assert.Equal(5 * MiB + 512, info.RootElement.GetProperty("virtual-size").GetInt64());
    }

    [Theory]
    [InlineData(false, "raw")]
    [InlineData(false, "qcow2")]
    [InlineData(true, "raw")]
    public async Task Qemu_img_converts_a_snapshot_and_compares_the_copy_as_identical(bool isTcp, string format)
    {
        Peer.Need("qemu-img", "qemu-io");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(16 * MiB);
        await using ServedDisk disposal = served;
        string disk = isTcp ? (await served.PublishOverTcpAsync()).ToString() : served.Uri;
        Session session = await served.StartSessionAsync();
        string snapshot = isTcp ? disk + "/nightly" : served.UriOf(session);
        await QemuIo.RunAsync(disk, "write -P 1 0 1M", "discard 3M 1M", "write -z 5M 70000", "write -P 2 6553 12345");

        string copy = served.Folder.File("copy");
        await Peer.RunAsync("qemu-img", "convert", "-f", "raw", "-O", format, snapshot, copy);

        await Peer.RunAsync("qemu-img", "compare", "-f", "raw", "-F", format, snapshot, copy);
        string plain = served.Folder.File("plain.raw");
        await Peer.RunAsync("qemu-img", "convert", "-f", format, "-O", "raw", copy, plain);
        Assert.Equal(ServedDisk.Digest(content), await ServedDisk.DigestOfFileAsync(plain));
    }

    [Fact]
    public async Task Qemu_img_tells_a_snapshot_from_the_disk_that_moved_on()
    {
        Peer.Need("qemu-img", "qemu-io");
        await using ServedDisk served = await ServedDisk.StartAsync(4 * MiB);
        Session session = await served.StartSessionAsync();
        await QemuIo.RunAsync(served.Uri, "write -P 1 3M 512");

        PeerResult compared = await Peer.TryRunAsync("qemu-img", "compare", "-f", "raw", "-F", "raw", served.UriOf(session), served.Uri);

        Assert.Equal(1, compared.ExitCode);
        Assert.Contains("mismatch at offset 3145728", compared.Output, StringComparison.Ordinal);
    }

    // -n: the target exists. qemu-img zeroes holes with WRITE_ZEROES and asks for fast ones first.
    [Fact]
    public async Task Qemu_img_converts_into_the_disk()
    {
        Peer.Need("qemu-img");
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(16 * MiB);
        await using ServedDisk disposal = served;
        byte[] content = new byte[16 * MiB];
        served.Seeds.Bytes(3 * MiB).CopyTo(content, 5 * MiB - 1000);
        string source = served.Folder.File("source.raw");
        await File.WriteAllBytesAsync(source, content);

        await Peer.RunAsync("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, served.Uri);

        Assert.Equal(ServedDisk.Digest(content), ServedDisk.Digest(await served.ReadAsync()));
    }
}
