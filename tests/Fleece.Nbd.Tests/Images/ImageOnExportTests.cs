// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tests.Client;
using Fleece.Nbd.Tests.Server;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Images;

/// <summary>Images that lie on exports of other servers, and what other programs then read there.</summary>
public sealed class ImageOnExportTests
{
    private const long DiskBytes = 16 * 1024 * 1024;
    private const int RequestsAtOnce = 16;

    public static TheoryData<ImageFormat, string, string> Servers
    {
        get
        {
            TheoryData<ImageFormat, string, string> servers = [];
            foreach (ImageFormat format in (ReadOnlySpan<ImageFormat>)[ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx])
            {
                servers.Add(format, "file {0}", "the plain plugin");
                servers.Add(format, "--filter=delay file {0} rdelay=1ms wdelay=1ms", "slow answers");
                servers.Add(format, "--no-sr --filter=nozero --filter=noextents file {0}", "neither status nor zeroing");
                servers.Add(
                    format,
                    "--filter=blocksize-policy file {0} blocksize-minimum=4096 blocksize-preferred=65536 blocksize-maximum=1M " +
                    "blocksize-error-policy=error",
                    "blocks larger than metadata");
            }

            return servers;
        }
    }

    [Theory]
    [MemberData(nameof(Servers))]
    public async Task An_image_on_a_larger_export_is_written_by_many_requests_and_read_by_QEMU(
        ImageFormat format, string arguments, string shape)
    {
        Assert.NotEmpty(shape);
        Peer.Need("qemu-img");
        using TempFolder folder = new();
        string device = await MakeDeviceAsync(folder, format, 64 * 1024 * 1024);
        using PeerServer server = PeerServer.Nbdkit(
            [.. arguments.Split(' ').Select(argument => argument == "{0}" ? device : argument)]);
        ReferenceDisk disk = new(DiskBytes);

        await using (IBlockNode image = await OpenAsync(server, format))
        {
            await ChangeAtOnceAsync(image, disk);
            await image.FlushAsync(CancellationToken.None);
            await disk.CheckAllAsync(image);
        }

        await CheckCleanAsync(format, device);
        disk.Check(0, await ReadByQemuAsync(folder, format, device));
    }

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task An_image_of_QEMU_is_read_and_written_over_qemu_nbd(ImageFormat format)
    {
        Peer.Need("qemu-img");
        using TempFolder folder = new();
        string device = folder.NewFile(".img");
        byte[] content = Seeds.FromEnvironment().Bytes(DiskBytes);
        string source = folder.NewFile();
        await File.WriteAllBytesAsync(source, content);
        await Peer.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", NameOf(format), .. SizeOptions(format), source, device]);
        using PeerServer server = PeerServer.QemuNbd("-f", "raw", device);
        ReferenceDisk disk = new(DiskBytes);
        disk.Write(0, content);

        await using (IBlockNode image = await OpenAsync(server, format))
        {
            await disk.CheckAllAsync(image);
            await image.WriteAsync(4096, content.AsMemory(0, 70_000), WriteFlags.ForceUnitAccess, CancellationToken.None);
            disk.Write(4096, content.AsSpan(0, 70_000));
        }

        server.Kill();
        await CheckCleanAsync(format, device);
        disk.Check(0, await ReadByQemuAsync(folder, format, device));
    }

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_server_that_is_killed_leaves_an_image_with_all_that_was_flushed(ImageFormat format)
    {
        Peer.Need("qemu-img");
        using TempFolder folder = new();
        string device = await MakeDeviceAsync(folder, format, 64 * 1024 * 1024);
        using PeerServer server = PeerServer.Nbdkit("--filter=delay", "file", device, "wdelay=2ms");
        byte[] flushed = Seeds.FromEnvironment().Bytes(1024 * 1024);
        IBlockNode image = await OpenAsync(server, format);
        await image.WriteAsync(0, flushed, WriteFlags.ForceUnitAccess, CancellationToken.None);

        Task<string?>[] writing = new Task<string?>[RequestsAtOnce];
        for (int i = 0; i < RequestsAtOnce; i++)
        {
            writing[i] = WriteUntilFailureAsync(image, (4 + (i % 8)) * 1024L * 1024, flushed.AsMemory(0, 65536));
        }

        server.Kill();
        string?[] kinds = await Task.WhenAll(writing);

        // An image that a failed metadata write has stopped closes without another.
        _ = await Record.ExceptionAsync(async () => await image.DisposeAsync());

        // The first failed metadata write stops the image, and the requests behind it say so by the same kind.
        Assert.All(kinds, kind => Assert.Equal(NbdErrors.ConnectionLost, kind));
        server.Start();
        await using (IBlockNode later = await OpenAsync(server, format))
        {
            byte[] read = new byte[flushed.Length];
            await later.ReadAsync(0, read, CancellationToken.None);
            Assert.Equal(flushed, read);
            await later.WriteAsync(12 * 1024 * 1024, flushed, WriteFlags.ForceUnitAccess, CancellationToken.None);
        }

        Assert.Equal(flushed, (await ReadByQemuAsync(folder, format, device))[..flushed.Length]);
    }

    [Fact]
    public async Task Errors_of_the_server_fail_the_requests_and_spoil_nothing_that_was_stored()
    {
        Peer.Need("qemu-img");
        using TempFolder folder = new();
        string device = await MakeDeviceAsync(folder, ImageFormat.Qcow2, 64 * 1024 * 1024);
        string trigger = folder.File("fail");
        using PeerServer server = PeerServer.Nbdkit("--filter=error", "file", device, "error-rate=100%", $"error-file={trigger}");
        byte[] data = Seeds.FromEnvironment().Bytes(256 * 1024);

        await using (IBlockNode image = await OpenAsync(server, ImageFormat.Qcow2))
        {
            await image.WriteAsync(0, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
            await File.WriteAllBytesAsync(trigger, []);
            BlockException failure = await Assert.ThrowsAsync<BlockException>(
                async () => await image.WriteAsync(0, new byte[65536], WriteFlags.None, CancellationToken.None));
            Assert.Equal(BlockErrors.IoFailed, failure.Kind);
            File.Delete(trigger);
            await image.WriteAsync(0, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
        }

        await CheckCleanAsync(ImageFormat.Qcow2, device);
        Assert.Equal(data, (await ReadByQemuAsync(folder, ImageFormat.Qcow2, device))[..data.Length]);
    }

    [Fact]
    public async Task An_image_on_an_export_of_this_process_leaves_the_server_the_threads_that_it_needs()
    {
        using TempFolder folder = new();
        string device = await MakeDeviceAsync(folder, ImageFormat.Qcow2, 64 * 1024 * 1024);
        await using ServedDisk served = new(FileNode.Open(device, isReadOnly: false));
        NbdNode node = await NbdNode.ConnectAsync(
            served.Server.Uri.WithExport(ServedDisk.Name), new NbdNodeOptions(), CancellationToken.None);
        await using IBlockNode image = await ImageOnNode.OpenAsync(
            node, node.Uri.ToString(), new ImageOpenOptions { Format = ImageFormat.Qcow2 }, CancellationToken.None);
        ReferenceDisk disk = new(DiskBytes);

        await ChangeAtOnceAsync(image, disk);

        await disk.CheckAllAsync(image);
    }

    private static async Task<string?> WriteUntilFailureAsync(IBlockNode image, long offsetBytes, ReadOnlyMemory<byte> data)
    {
        try
        {
            while (true)
            {
                await image.WriteAsync(offsetBytes, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
            }
        }
        catch (BlockException failure)
        {
            return failure.Kind;
        }
    }

    private static string[] SizeOptions(ImageFormat format) => format == ImageFormat.Vhd ? ["-o", "force_size=on"] : [];

    private static string NameOf(ImageFormat format) => format == ImageFormat.Vhd ? "vpc" : format.ToString().ToLowerInvariant();

    // As qemu-img makes an image on a device: the rest of the device is not touched, and holds anything.
    private static async Task<string> MakeDeviceAsync(TempFolder folder, ImageFormat format, long deviceBytes)
    {
        string device = folder.NewFile(".img");
        await Image.CreateAsync(device, new ImageCreateOptions { Format = format, SizeBytes = DiskBytes });
        await using FileStream file = new(device, FileMode.Append);
        await file.WriteAsync(Seeds.FromEnvironment().Bytes(deviceBytes - file.Length));
        return device;
    }

    private static async Task<IBlockNode> OpenAsync(PeerServer server, ImageFormat format, ImageOpenOptions? options = null)
    {
        NbdNode node = await server.ConnectAsync(new NbdNodeOptions { ReconnectTimeout = TimeSpan.Zero });
        try
        {
            return await ImageOnNode.OpenAsync(
                node, server.Uri.ToString(), (options ?? new ImageOpenOptions()) with { Format = format }, CancellationToken.None);
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    private static async Task ChangeAtOnceAsync(IBlockNode image, ReferenceDisk disk)
    {
        Seeds seeds = Seeds.FromEnvironment();
        Task[] running = new Task[RequestsAtOnce];
        for (int i = 0; i < RequestsAtOnce; i++)
        {
            long stripeBytes = DiskBytes / RequestsAtOnce;
            running[i] = ChangeStripeAsync(image, disk, new BlockRange(i * stripeBytes, stripeBytes), seeds.Fork());
        }

        await Task.WhenAll(running);
    }

    private static async Task ChangeStripeAsync(IBlockNode image, ReferenceDisk disk, BlockRange stripe, Seeds seeds)
    {
        for (int round = 0; round < 20; round++)
        {
            BlockRange within = seeds.Range(stripe.LengthBytes / 4);
            long offsetBytes = stripe.OffsetBytes + within.OffsetBytes;
            switch (seeds.Next(4))
            {
                case 0:
                    await image.WriteZeroesAsync(offsetBytes, within.LengthBytes, WriteFlags.None, CancellationToken.None);
                    disk.WriteZeroes(new BlockRange(offsetBytes, within.LengthBytes));
                    break;
                case 1:
                    await image.FlushAsync(CancellationToken.None);
                    break;
                default:
                    byte[] data = seeds.Bytes(within.LengthBytes);
                    await image.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
                    disk.Write(offsetBytes, data);
                    break;
            }
        }
    }

    // qemu-img checks neither VHD nor a VHDX's BAT, so Fleece's own check examines those.
    private static async Task CheckCleanAsync(ImageFormat format, string device)
    {
        if (format == ImageFormat.Qcow2)
        {
            await Peer.RunAsync("qemu-img", "check", "-f", "qcow2", device);
            return;
        }

        using PeerServer server = PeerServer.Nbdkit("--readonly", "file", device);
        await using NbdNode node = await server.ConnectAsync();
        ImageReport report = await ImageOnNode.CheckAsync(
            node, server.Uri.ToString(), format, ImageRepair.None, CancellationToken.None);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
    }

    private static async Task<byte[]> ReadByQemuAsync(TempFolder folder, ImageFormat format, string device)
    {
        string raw = folder.NewFile();
        await Peer.RunAsync("qemu-img", "convert", "-f", NameOf(format), "-O", "raw", device, raw);
        return await File.ReadAllBytesAsync(raw);
    }
}
