// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>QEMU's NBD client sends every kind of request; a byte array says what the disk then has to hold.</summary>
public sealed class QemuIoTests
{
    private const int KiB = 1024;
    private const int DiskBytes = 1024 * KiB + 512;

    public static TheoryData<string, int, int, int> Changes => new()
    {
        { "write -P 7 64k 64k", 64 * KiB, 64 * KiB, 7 },
        { "write -P 7 3 700", 3, 700, 7 },
        { "write -P 7 65535 4098", 65535, 4098, 7 },
        { "write -P 7 1048575 513", 1048575, 513, 7 },
        { "write -f -P 7 8k 4k", 8 * KiB, 4 * KiB, 7 },
        { "write -f -P 7 8193 1", 8193, 1, 7 },
        { "write -z 64k 128k", 64 * KiB, 128 * KiB, 0 },
        { "write -z 1000 5000", 1000, 5000, 0 },
        { "write -z -f 64k 64k", 64 * KiB, 64 * KiB, 0 },
        { "write -z -u 128k 256k", 128 * KiB, 256 * KiB, 0 },
        { "aio_write -P 7 32k 64k", 32 * KiB, 64 * KiB, 7 },
        { "writev -P 7 0 512 1024 4096", 0, 5632, 7 },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task What_qemu_io_writes_is_there_and_nothing_else_has_changed(string command, int offset, int length, int value)
    {
        Peer.Need("qemu-io");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(DiskBytes);
        await using ServedDisk disposal = served;

        await QemuIo.RunAsync(served.Uri, command, "aio_flush", $"read -P {value} {offset} {length}");

        content.AsSpan(offset, length).Fill((byte)value);
        Assert.Equal(content, await served.ReadAsync());
    }

    [Fact]
    public async Task What_qemu_io_discards_reads_as_zeros_on_a_raw_disk()
    {
        Peer.Need("qemu-io");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(DiskBytes);
        await using ServedDisk disposal = served;

        await QemuIo.RunAsync(served.Uri, "discard 128k 256k");

        content.AsSpan(128 * KiB, 256 * KiB).Clear();
        Assert.Equal(content, await served.ReadAsync());
    }

    [Fact]
    public async Task A_flush_and_a_FUA_write_succeed_on_a_qcow2_disk_and_qemu_img_finds_it_clean_afterwards()
    {
        Peer.Need("qemu-io", "qemu-img");
        await using ServedDisk served = await ServedDisk.StartAsync(8 * DiskBytes, ImageFormat.Qcow2);

        await QemuIo.RunAsync(served.Uri, "write -f -P 7 1M 64k", "write -P 8 2M 64k", "flush", "discard 1M 64k");

        await QemuIo.RunAsync(served.Uri, "read -P 8 2M 64k", "read -P 0 1M 64k");
        await Peer.RunAsync("qemu-img", "check", "-f", "qcow2", await served.DismountAsync());
    }

    [Theory]
    [InlineData("write 0 64k")]
    [InlineData("write -z 0 64k")]
    public async Task A_snapshot_refuses_to_be_written_and_stays_as_it_was(string command)
    {
        Peer.Need("qemu-io");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(DiskBytes);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();

        await QemuIo.AssertRefusedAsync(served.UriOf(session), command, QemuIo.NotPermitted);

        Assert.Equal(content, await ServedDisk.ReadAsync(session));
    }

    // Eight connections write what belongs to them and to nobody else.
    [Fact]
    public async Task Several_guests_write_one_disk_at_once()
    {
        Peer.Need("qemu-io");
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(DiskBytes);
        await using ServedDisk disposal = served;

        await Task.WhenAll(Enumerable.Range(1, 8).Select(guest => QemuIo.RunAsync(
            served.Uri, [.. Enumerable.Range(0, 16).Select(piece => $"write -P {guest} {(piece * 8 + guest - 1) * 1000} 1000")])));

        for (int at = 0; at < 128 * 1000; at++)
        {
            content[at] = (byte)(1 + at / 1000 % 8);
        }

        Assert.Equal(content, await served.ReadAsync());
    }
}
