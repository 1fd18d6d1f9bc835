// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Exports;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Disks.Tests;

/// <summary>Exports that this process, or another one, uses already.</summary>
public sealed class ExportUseTests
{
    private const int SizeBytes = 4 * 1024 * 1024;

    [Theory]
    [InlineData("nbd://HOST.example/vm", "nbd://host.example:10809/vm")]
    [InlineData("nbd://host/vm", "nbds://host./vm?tls-hostname=other")]
    [InlineData("nbd://localhost/vm", "nbd://127.0.0.1/vm")]
    [InlineData("nbd://localhost/vm", "nbd://[::1]/vm")]
    [InlineData("nbd://192.0.2.1/vm", "nbd://[::ffff:192.0.2.1]/vm")]
    [InlineData("nbd+unix:///vm?socket=/run/s.sock", "NBD+UNIX:///%76m?socket=/run/../run/./s.sock")]
    public void Two_spellings_of_one_address_are_one_place(string one, string other) =>
        Assert.Equal(ExportPlace.Of(NbdUri.Parse(one)), ExportPlace.Of(NbdUri.Parse(other)));

    [Theory]
    [InlineData("nbd://host/vm", "nbd://host/VM")]
    [InlineData("nbd://host/vm", "nbd://host:10810/vm")]
    [InlineData("nbd://127.0.0.1/vm", "nbd://127.0.0.2/vm")]
    [InlineData("nbd+unix:///vm?socket=/run/s.sock", "nbd+unix:///vm?socket=/run/t.sock")]
    public void Two_addresses_are_two_places(string one, string other) =>
        Assert.NotEqual(ExportPlace.Of(NbdUri.Parse(one)), ExportPlace.Of(NbdUri.Parse(other)));

    [Theory]
    [InlineData(ExportUsage.WriteImage, ExportUsage.WriteImage)]
    [InlineData(ExportUsage.WriteImage, ExportUsage.ReadImage)]
    [InlineData(ExportUsage.WriteImage, ExportUsage.WriteDisk)]
    [InlineData(ExportUsage.WriteImage, ExportUsage.ReadDisk)]
    [InlineData(ExportUsage.ReadImage, ExportUsage.WriteDisk)]
    [InlineData(ExportUsage.Overwrite, ExportUsage.ReadDisk)]
    [InlineData(ExportUsage.Overwrite, ExportUsage.WriteDisk)]
    [InlineData(ExportUsage.Overwrite, ExportUsage.ReadImage)]
    [InlineData(ExportUsage.Overwrite, ExportUsage.Overwrite)]
    internal void Uses_that_do_not_go_together_are_refused_until_the_first_has_ended(ExportUsage one, ExportUsage other)
    {
        foreach ((ExportUsage first, ExportUsage second) in (ReadOnlySpan<(ExportUsage, ExportUsage)>)[(one, other), (other, one)])
        {
            NbdUri uri = NbdUri.Parse("nbd://192.0.2.7/together");
            ExportUse use = ExportUse.Begin(uri, identity: null, first, "the disk 'a'");

            BlockException refusal = Assert.Throws<BlockException>(() => ExportUse.Begin(uri, identity: null, second, "the disk 'b'"));

            Assert.Equal(BlockErrors.InUse, refusal.Kind);
            Assert.Contains("the disk 'a' of this process", refusal.Message, StringComparison.Ordinal);
            use.Dispose();
            ExportUse.Begin(uri, identity: null, second, "the disk 'b'").Dispose();
        }
    }

    [Theory]
    [InlineData(ExportUsage.WriteDisk, ExportUsage.WriteDisk)]
    [InlineData(ExportUsage.WriteDisk, ExportUsage.ReadDisk)]
    [InlineData(ExportUsage.ReadImage, ExportUsage.ReadImage)]
    [InlineData(ExportUsage.ReadImage, ExportUsage.ReadDisk)]
    internal void Readers_and_raw_disks_go_together(ExportUsage first, ExportUsage second)
    {
        NbdUri uri = NbdUri.Parse("nbd://192.0.2.8/together");
        using ExportUse one = ExportUse.Begin(uri, identity: null, first, "the disk 'a'");
        using ExportUse other = ExportUse.Begin(uri, identity: null, second, "the disk 'b'");
    }

    [Fact]
    public async Task An_image_has_one_writer_under_all_names_of_its_export()
    {
        await using Rig rig = new();
        await using MountedDisks server = new();
        NbdUri uri = await ServeAsync(rig, server);
        File.CreateSymbolicLink(rig.Folder.File("link.sock"), uri.SocketPath!);
        await using MountedDisks disks = new();
        await MountAsync(disks, uri, "a");

        foreach (NbdUri other in (NbdUri[])[uri, uri.WithExport(string.Empty), uri.WithSocket(rig.Folder.File("link.sock"))])
        {
            BlockException refusal = await RefusalAsync(() => MountAsync(disks, other, "b"));
            Assert.Contains("the disk 'a' of this process", refusal.Message, StringComparison.Ordinal);
            await RefusalAsync(() => MountAsync(disks, other, "b", isReadOnly: true));
            await RefusalAsync(() => StorageAddress
                .ConnectToOverwriteAsync(other, new NbdNodeOptions(), "a backup", advice: null, CancellationToken.None).AsTask());
        }

        await disks.DismountAsync("a", isForced: false);
        await MountAsync(disks, uri, "b");
    }

    [Fact]
    public async Task An_image_is_not_written_while_another_client_uses_its_export()
    {
        await using Rig rig = new();
        await using MountedDisks server = new();
        NbdUri uri = await ServeAsync(rig, server);
        await using MountedDisks disks = new();
        await using (await NbdNode.ConnectAsync(uri, new NbdNodeOptions(), CancellationToken.None))
        {
            BlockException refusal = await RefusalAsync(() => MountAsync(disks, uri, "a"));
            Assert.Contains("1 client(s)", refusal.Message, StringComparison.Ordinal);
            await MountAsync(disks, uri, "reader", isReadOnly: true);
            await disks.DismountAsync("reader", isForced: false);
        }

        await MountAsync(disks, uri, "a");
    }

    [Fact]
    public async Task A_mounted_export_is_no_temp_and_its_own_disk_says_so_in_any_spelling()
    {
        await using Rig rig = new();
        await using MountedDisks server = new();
        NbdUri uri = await ServeAsync(rig, server);
        NbdUri link = uri.WithSocket(rig.Folder.File("link.sock"));
        File.CreateSymbolicLink(link.SocketPath!, uri.SocketPath!);
        await using MountedDisks disks = new();
        Disk own = await disks.MountAsync(uri.ToString(), "own", new ImageOpenOptions { Format = ImageFormat.Raw }, isShared: true);
        Disk other = await rig.AddDiskAsync("other", 4096);
        SessionOptions options = new() { TempPath = link.ToString() };

        BlockException itself = await Assert.ThrowsAsync<BlockException>(() => Rig.StartAsync(own, options));
        BlockException others = await Assert.ThrowsAsync<BlockException>(() => Rig.StartAsync(other, options));

        Assert.Equal((DiskErrors.TempIsDisk, BlockErrors.InUse), (itself.Kind, others.Kind));
        Assert.Contains("the disk 'own' of this process", others.Message, StringComparison.Ordinal);
    }

    private static async Task<NbdUri> ServeAsync(Rig rig, MountedDisks server)
    {
        string path = rig.Folder.File("store.raw");
        string image = rig.Folder.File("image.qcow2");
        await Image.CreateAsync(image, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = SizeBytes });
        File.Move(image, path);
        await using (FileStream device = new(path, FileMode.Open))
        {
            device.SetLength(2 * SizeBytes);
        }

        Disk store = await server.MountAsync(path, "store", new ImageOpenOptions { Format = ImageFormat.Raw });
        return (await server.Exports.PublishAsync(
            store, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={rig.Folder.File("s.sock")}") })).Uri;
    }

    private static Task<Disk> MountAsync(MountedDisks disks, NbdUri uri, string name, bool isReadOnly = false) => disks.MountAsync(
        uri.ToString(), name, new ImageOpenOptions { Format = ImageFormat.Qcow2, IsReadOnly = isReadOnly }).AsTask();

    private static async Task<BlockException> RefusalAsync(Func<Task> use)
    {
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(use);
        Assert.Equal(BlockErrors.InUse, refusal.Kind);
        return refusal;
    }
}
