// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Exports;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Exports;

/// <summary>Listeners that outlive the process which has opened them, and those which share an address.</summary>
public sealed class ListenSocketsTests : IAsyncDisposable
{
    private const int SizeBytes = 1024 * 1024;

    private readonly TempFolder _folder = new();
    private readonly KeptSockets _sockets = new();

    public ListenSocketsTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "sockets are inherited on Linux only");

    private NbdUri Address => NbdUri.Parse($"nbd+unix:///?socket={_folder.File("s")}");

    private ExportOptions Options => new() { ListenUri = Address };

    public ValueTask DisposeAsync()
    {
        _sockets.Dispose();
        _folder.Dispose();
        return default;
    }

    [Fact]
    public async Task A_guest_writes_on_when_the_next_process_serves_its_disk()
    {
        MountedDisks first = new(_sockets);
        await PublishAsync(first, "vm");
        NbdNode guest = await ConnectAsync("vm");
        await guest.WriteAsync(0, new byte[] { 1 }, WriteFlags.None, TestContext.Current.CancellationToken);

        await first.EndAsync();
        Task write = guest.WriteAsync(1, new byte[] { 2 }, WriteFlags.None, TestContext.Current.CancellationToken).AsTask();
        _sockets.Restart();
        await using MountedDisks second = new(_sockets);
        DiskExport export = await PublishAsync(second, "vm");
        await write;

        byte[] data = new byte[2];
        await export.Disk.Device.ReadAsync(0, data, TestContext.Current.CancellationToken);
        Assert.Equal(new byte[] { 1, 2 }, data);
        Assert.Equal(["take"], _sockets.Calls);
        await guest.DisposeAsync();
    }

    [Fact]
    public async Task A_client_waits_while_no_process_serves_and_is_served_by_the_next()
    {
        await using (MountedDisks first = new(_sockets))
        {
            await PublishAsync(first, "vm");
            await PublishAsync(first, "other");
            await first.EndAsync();
        }

        Task<NbdNode> connecting = ConnectAsync("other");
        _sockets.Restart();
        await using MountedDisks second = new(_sockets);
        await PublishAsync(second, "other");

        await using NbdNode guest = await connecting;
        Assert.Equal(SizeBytes, guest.Geometry.LengthBytes);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_listener_that_ends_while_the_process_goes_on_is_removed_from_the_store(bool isInherited)
    {
        MountedDisks disks = new(_sockets);
        if (isInherited)
        {
            await PublishAsync(disks, "vm");
            await disks.EndAsync();
            _sockets.Restart();
            disks = new MountedDisks(_sockets);
        }

        await PublishAsync(disks, "vm");
        await PublishAsync(disks, "other");
        await disks.DismountAsync("vm", isForced: false);
        Assert.Equal(1, _sockets.Count);
        await disks.DismountAsync("other", isForced: false);

        Assert.Equal(isInherited ? ["take", "remove"] : ["take", "keep", "remove"], _sockets.Calls);
        Assert.False(File.Exists(Address.SocketPath));
        await disks.DisposeAsync();
    }

    [Fact]
    public async Task A_listener_that_can_not_be_kept_ends_with_the_process()
    {
        using KeptSockets full = new() { IsFull = true };
        MountedDisks disks = new(full);
        await PublishAsync(disks, "vm");

        await disks.EndAsync();

        Assert.Equal(["take", "keep"], full.Calls);
        Assert.False(File.Exists(Address.SocketPath));
    }

    [Fact]
    public async Task A_kept_socket_whose_file_is_gone_makes_room_for_a_new_one()
    {
        MountedDisks first = new(_sockets);
        await PublishAsync(first, "vm");
        await first.EndAsync();
        File.Delete(Address.SocketPath!);
        _sockets.Restart();

        await using MountedDisks second = new(_sockets);
        await PublishAsync(second, "vm");

        Assert.Equal(["take", "remove", "keep"], _sockets.Calls);
        await (await ConnectAsync("vm")).DisposeAsync();
    }

    [Fact]
    public async Task A_kept_socket_that_can_not_be_used_is_forgotten_with_an_error()
    {
        await using MountedDisks disks = new(_sockets);
        await PublishAsync(disks, "vm");
        NbdUri other = NbdUri.Parse($"nbd+unix:///?socket={_folder.File("other")}");
        await using MountedDisks third = new(new Renamed(_sockets, Address));
        Disk disk = await MountAsync(third, "disk");

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await third.Exports.PublishAsync(disk, new ExportOptions { ListenUri = other }));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Equal("remove", _sockets.Calls[^1]);
    }

    [Fact]
    public async Task Nothing_is_published_once_the_process_ends()
    {
        await using MountedDisks disks = new(_sockets);
        DiskExport export = await PublishAsync(disks, "vm");

        await disks.Exports.LeaveSocketsAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await disks.Exports.PublishAsync(export.Disk, Options with { Name = "again" }));
        Assert.Equal(BlockErrors.Closed, error.Kind);
    }

    [Theory]
    [InlineData(null, null, true)]
    [InlineData("0660", null, true)]
    [InlineData("0660", "0", true)]
    [InlineData(null, "0", true)]
    [InlineData("0600", null, false)]
    [InlineData("0600", "0", false)]
    [InlineData(null, "1", false)]
    public async Task Exports_that_share_a_listener_agree_on_its_mode_and_group(string? mode, string? group, bool agrees)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may give a file to any group");
        await using MountedDisks disks = new();
        Disk disk = await MountAsync(disks, "vm");
        await disks.Exports.PublishAsync(disk, Options with { SocketGroup = "0" });
        ExportOptions second = Options with
        {
            Name = "second",
            SocketMode = mode is null ? null : (UnixFileMode)Convert.ToInt32(mode, 8),
            SocketGroup = group,
        };

        BlockException? error = await Record.ExceptionAsync(async () => await disks.Exports.PublishAsync(disk, second)) as BlockException;

        Assert.Equal(agrees ? null : BlockErrors.InvalidArgument, error?.Kind);
        Assert.Equal(agrees ? 2 : 1, disks.Exports.All.Count);
    }

    private async Task<DiskExport> PublishAsync(MountedDisks disks, string name) =>
        await disks.Exports.PublishAsync(await MountAsync(disks, name), Options);

    private async Task<Disk> MountAsync(MountedDisks disks, string name)
    {
        string path = _folder.File(name + ".raw");
        if (!File.Exists(path))
        {
            await FileNode.Create(path, SizeBytes).DisposeAsync();
        }

        return await disks.MountAsync(path, name);
    }

    private Task<NbdNode> ConnectAsync(string name) => NbdNode
        .ConnectAsync(Address.WithExport(name), new NbdNodeOptions(), TestContext.Current.CancellationToken).AsTask();

    // A store that hands out the socket of another address.
    private sealed class Renamed(KeptSockets kept, NbdUri address) : IListenSockets
    {
        public System.Net.Sockets.SafeSocketHandle? Take(NbdUri uri) => kept.Take(address);

        public bool TryKeep(NbdUri uri, System.Net.Sockets.SafeSocketHandle socket) => false;

        public void Remove(NbdUri uri) => kept.Calls.Add("remove");
    }
}
