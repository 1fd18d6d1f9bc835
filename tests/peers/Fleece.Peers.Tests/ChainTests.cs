// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Exports;
using Fleece.Nbd;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>A chain of images as clients see it: nbdinfo prints the same maps of Fleece's server and of qemu-nbd.</summary>
public sealed class ChainTests : IAsyncDisposable
{
    private const string Depth = "qemu:allocation-depth";

    private readonly TempFolder _folder = new();
    private readonly MountedDisks _disks = new();

    public async ValueTask DisposeAsync()
    {
        await _disks.DisposeAsync();
        _folder.Dispose();
    }

    [Theory]
    [InlineData("raw", 0)]
    [InlineData("raw", 1)]
    [InlineData("raw", 3)]
    [InlineData("qcow2", 0)]
    [InlineData("qcow2", 1)]
    [InlineData("qcow2", 2)]
    [InlineData("qcow2", 3)]
    [InlineData("vhdx", 0)]
    [InlineData("vhdx", 3)]
    [InlineData("vpc", 0)]
    [InlineData("vpc", 2)]
    public async Task The_depth_of_a_chain_is_what_qemu_says(string bottom, int overlays)
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        Seeds seeds = Seeds.FromEnvironment();
        string path = await ChainAsync(seeds, bottom, overlays);

        string expected = await MapOfQemuAsync(path, Depth, "-A");

        Assert.Equal(expected, await MapOfFleeceAsync(path, Depth));
    }

    // A fixed VHD stores all of itself, and a compressed cluster counts as the image's.
    [Theory]
    [InlineData("vpc", "subformat=fixed")]
    [InlineData("qcow2", "extended_l2=on")]
    [InlineData("qcow2", "preallocation=metadata")]
    public async Task The_depth_of_a_variant_is_what_qemu_says(string format, string options)
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        string path = _folder.File($"image.{Extension(format)}");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", format, "-o", options, path, "8M");
        await WriteAsync(path, format, "write 1M 4k", "write -z 2M 64k", "discard 3M 64k");

        Assert.Equal(await MapOfQemuAsync(path, Depth, "-A"), await MapOfFleeceAsync(path, Depth));
    }

    [Fact]
    public async Task While_a_session_runs_the_depth_is_that_of_the_image()
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        string path = await OverlayAsync(await ImageAsync("base.qcow2", "qcow2", "8M", "write 1M 64k"), "qcow2", "top.qcow2", "8M");
        (Disk disk, string uri) = await ServeAsync(path);
        await Session.StartAsync([disk], new SessionOptions());

        await QemuIo.RunAsync(uri, "write 4M 64k");
        string during = await Peer.RunAsync("nbdinfo", $"--map={Depth}", uri);
        await _disks.DismountAsync(disk.Name, isForced: true);

        Assert.Equal(await MapOfQemuAsync(path, Depth, "-A"), during);
    }

    [Theory]
    [InlineData("8M", "64k")]
    [InlineData("8M", "1M")]
    [InlineData("6500k", "64k")]
    [InlineData("6500k", "2M")]
    [InlineData("10250k", "64k")]
    [InlineData("10250k", "4M")]
    public async Task A_bitmap_of_the_parent_is_what_qemu_says_for_a_child_of_any_size(string childSize, string granularity)
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        string parent = await ImageAsync("base.qcow2", "qcow2", "8M");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", "-g", granularity, parent, "daily");
        await WriteAsync(parent, "qcow2", "write 1M 64k", "write 6480k 40k", "write 8128k 64k");
        string child = await OverlayAsync(parent, "qcow2", "top.qcow2", childSize, "write 3M 64k");
        string grandchild = await OverlayAsync(child, "qcow2", "new.qcow2", childSize);

        string expected = await MapOfQemuAsync(child, "qemu:dirty-bitmap:daily", "-B", "daily");

        Assert.Equal(expected, await MapOfFleeceAsync(child, "qemu:dirty-bitmap:daily"));
        Assert.Equal(expected, await MapOfFleeceAsync(grandchild, "qemu:dirty-bitmap:daily"));
        Assert.Contains("dirty", expected, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_nearest_image_that_has_the_name_decides_it()
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        string parent = await ImageAsync("base.qcow2", "qcow2", "8M");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", parent, "daily");
        await WriteAsync(parent, "qcow2", "write 1M 64k");
        string child = await OverlayAsync(parent, "qcow2", "middle.qcow2", "8M");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", child, "daily");
        await WriteAsync(child, "qcow2", "write 3M 64k");
        string grandchild = await OverlayAsync(child, "qcow2", "top.qcow2", "8M", "write 5M 64k");

        string expected = await MapOfQemuAsync(grandchild, "qemu:dirty-bitmap:daily", "-B", "daily");

        Assert.Equal(expected, await MapOfFleeceAsync(grandchild, "qemu:dirty-bitmap:daily"));
    }

    // The parent is found as qemu-nbd finds it, and refused as qemu-nbd refuses it, although the grandparent's can be trusted.
    [Fact]
    public async Task A_bitmap_that_a_parent_has_in_use_is_refused_as_qemu_refuses_it()
    {
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo");
        string parent = await ImageAsync("base.qcow2", "qcow2", "8M");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", parent, "daily");
        string child = await OverlayAsync(parent, "qcow2", "middle.qcow2", "8M");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", child, "daily");
        using (Process killed = Peer.Start("qemu-nbd", "-t", "-k", _folder.File("killed.sock"), "-f", "qcow2", child))
        {
            await Wait.UntilAsync(() => CanConnect(_folder.File("killed.sock")));
            await QemuIo.RunAsync($"nbd+unix:///?socket={_folder.File("killed.sock")}", "write 1M 64k");
            killed.Kill();
            await killed.WaitForExitAsync();
        }

        string grandchild = await OverlayAsync(child, "qcow2", "top.qcow2", "8M");
        PeerResult refused = await Peer.TryRunAsync(
            "qemu-nbd", "-r", "-B", "daily", "-k", _folder.File("no.sock"), "-f", "qcow2", grandchild);
        (Disk disk, string uri) = await ServeAsync(grandchild);
        Bitmap bitmap = disk.Bitmaps.Find("daily");

        Assert.Contains("inconsistent", refused.Output, StringComparison.Ordinal);
        Assert.Equal((BitmapState.Untrusted, child), (bitmap.State, bitmap.ImagePath));
        Assert.Contains("in use", bitmap.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain("dirty-bitmap", await Peer.RunAsync("nbdinfo", uri), StringComparison.Ordinal);
    }

    private static string Extension(string format) => format == "vpc" ? "vhd" : format;

    // Each layer stores, zeroes and discards somewhere else, and is longer or shorter than the one beneath it.
    private async Task<string> ChainAsync(Seeds seeds, string bottom, int overlays)
    {
        string path = await ImageAsync($"0.{Extension(bottom)}", bottom, "16M", "write 1M 64k", "write 5M 128k");
        string format = bottom;
        for (int layer = 1; layer <= overlays; layer++)
        {
            int sizeMiB = 12 + seeds.Next(28);
            string Place() => $"{seeds.Next(11 * 16) * 64}k {4 * (1 + seeds.Next(30))}k";
            path = await OverlayAsync(
                path,
                format,
                $"{layer}.qcow2",
                $"{sizeMiB}M",
                $"write {Place()}", $"write {Place()}", $"write -z {Place()}", $"discard {Place()}");
            format = "qcow2";
        }

        return path;
    }

    private async Task<string> ImageAsync(string name, string format, string size, params string[] commands)
    {
        string path = _folder.File(name);
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", format, path, size);
        await WriteAsync(path, format, commands);
        return path;
    }

    private async Task<string> OverlayAsync(string parent, string parentFormat, string name, string size, params string[] commands)
    {
        string path = _folder.File(name);
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", parentFormat, path, size);
        await WriteAsync(path, "qcow2", commands);
        return path;
    }

    private static async Task WriteAsync(string path, string format, params string[] commands)
    {
        if (commands.Length != 0)
        {
            await Peer.RunAsync("qemu-io", ["-f", format, .. commands.SelectMany(command => new[] { "-c", command }), path]);
        }
    }

    private async Task<string> MapOfQemuAsync(string path, string context, params string[] options)
    {
        string socket = _folder.File("qemu.sock");
        string format = Path.GetExtension(path) switch { ".vhd" => "vpc", ".raw" => "raw", var other => other[1..] };
        using Process server = Peer.Start("qemu-nbd", ["-t", "-r", "-k", socket, "-f", format, .. options, path]);
        await Wait.UntilAsync(() => CanConnect(socket));
        string map = await Peer.RunAsync("nbdinfo", $"--map={context}", $"nbd+unix:///?socket={socket}");
        server.Kill();
        await server.WaitForExitAsync();
        File.Delete(socket);
        return map;
    }

    // The file is there a moment before the server listens.
    private static bool CanConnect(string socketPath)
    {
        using Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            client.Connect(new UnixDomainSocketEndPoint(socketPath));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private async Task<string> MapOfFleeceAsync(string path, string context)
    {
        (Disk disk, string uri) = await ServeAsync(path);
        string map = await Peer.RunAsync("nbdinfo", $"--map={context}", uri);
        await _disks.DismountAsync(disk.Name, isForced: true);
        return map;
    }

    private async Task<(Disk Disk, string Uri)> ServeAsync(string path)
    {
        Disk disk = await _disks.MountAsync(path, "vm");
        DiskExport export = await _disks.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_folder.File("fleece.sock")}") });
        return (disk, export.Uri.ToString());
    }
}
