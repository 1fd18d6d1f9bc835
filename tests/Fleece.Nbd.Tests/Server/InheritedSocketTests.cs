// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Nbd.Server;
using Fleece.TestKit;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Listening sockets that go from one server to the next. A duplicate of the descriptor stands for the one that a service
/// manager keeps.</summary>
[SuppressMessage("Interoperability", "CA1416", Justification = "The constructor skips where sockets can't be inherited.")]
public sealed class InheritedSocketTests : IDisposable
{
    private const string Tcp = "nbd://localhost:0/";
    private const int GetDescriptorFlags = 1;

    private readonly TempFolder _folder = new();

    public InheritedSocketTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "sockets are inherited on Linux only");

    private string Unix => $"nbd+unix:///?socket={_folder.File("s")}";

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_client_that_connects_while_no_server_accepts_is_served_by_the_next(bool isTcp)
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(isTcp ? Tcp : Unix);
        using RawClient waiting = RawClient.Connect(uri);
        using Process? tool = Peer.Has("nbdinfo") ? Peer.Start("nbdinfo", "--size", $"{uri.WithExport(ServedDisk.Name)}") : null;

        await using ServedDisk next = new(uri: Unix + "2");
        await using NbdServer server = NbdServer.Inherit(kept, uri, next, new NbdServerOptions());

        Assert.Equal(new byte[512], waiting.Greet().Go(HeaderMode.Simple, ServedDisk.Name).ReadDisk(0, 512));
        using RawClient later = RawClient.Connect(uri);
        Assert.Equal(new byte[512], later.Greet().Go(HeaderMode.Simple, ServedDisk.Name).ReadDisk(0, 512));
        if (tool is not null)
        {
            Assert.Equal("1048576", (await tool.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken)).Trim());
        }
    }

    [Fact]
    public async Task Another_process_serves_a_socket_that_was_left()
    {
        Peer.Need("bash", "nbdkit", "nbdinfo");
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        using Process client = Peer.Start("nbdinfo", "--size", $"{uri}");

        // As systemd hands sockets over: sd_listen_fds(3).
        string script = $"exec 3<&{kept.DangerousGetHandle()}; LISTEN_PID=$$ LISTEN_FDS=1 exec nbdkit --exit-with-parent memory 3M";
        using Process server = Peer.Start("bash", "-c", script);
        kept.Dispose();

        Assert.Equal("3145728", (await client.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken)).Trim());
        server.Kill();
    }

    [Fact]
    public async Task A_server_that_has_left_its_socket_serves_its_clients_until_it_ends()
    {
        await using ServedDisk disk = new(options: new NbdServerOptions { CanLeaveSocket = true });
        using SafeSocketHandle kept = Duplicate(disk.Server.SocketHandle);
        using RawClient guest = disk.Go();

        disk.Server.LeaveSocket();
        disk.Server.LeaveSocket();

        Assert.Equal(new byte[512], guest.ReadDisk(0, 512));
        await disk.Server.DisposeAsync();
        guest.AssertClosed();
        Assert.True(File.Exists(disk.Server.Uri.SocketPath));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_inherited_socket_ends_with_its_server_unless_that_leaves_it(bool leavesAgain)
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        using SafeSocketHandle other = Duplicate(kept);
        await using (NbdServer server = NbdServer.Inherit(kept, uri, new NoExports(), new NbdServerOptions { CanLeaveSocket = true }))
        {
            if (leavesAgain)
            {
                server.LeaveSocket();
            }
        }

        Assert.Equal(leavesAgain, File.Exists(uri.SocketPath));
        if (leavesAgain)
        {
            RawClient.Connect(uri).Dispose();
        }
    }

    [Fact]
    public async Task A_server_that_may_leave_its_socket_and_does_not_removes_it()
    {
        await using (NbdServer server = Listen(Unix))
        {
            using RawClient client = RawClient.Connect(server.Uri);
            client.Greet();
        }

        Assert.False(File.Exists(_folder.File("s")));
    }

    [Fact]
    public async Task An_inherited_socket_is_closed_in_child_processes()
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        Assert.Equal(0, Control((int)kept.DangerousGetHandle(), GetDescriptorFlags));

        await using NbdServer server = NbdServer.Inherit(kept, uri, new NoExports(), new NbdServerOptions());

        Assert.Equal(1, Control((int)server.SocketHandle.DangerousGetHandle(), GetDescriptorFlags));
    }

    [Fact]
    public async Task Connections_at_an_inherited_TCP_socket_do_not_linger()
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Tcp);
        using SafeSocketHandle other = Duplicate(kept);

        await using NbdServer server = NbdServer.Inherit(kept, uri, new NoExports(), new NbdServerOptions());

        using Socket seen = new(other);
        Assert.False(seen.LingerState!.Enabled);
    }

    [Theory]
    [InlineData(null, null, "0600")]
    [InlineData("0660", null, "0660")]
    [InlineData(null, "0", "0660")]
    public async Task The_file_keeps_its_mode_unless_another_is_asked_for(string? asked, string? group, string mode)
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        Assert.SkipUnless(group is null || Environment.IsPrivilegedProcess, "only root may give a file to any group");
        NbdServerOptions options = new()
        {
            SocketMode = asked is null ? null : (UnixFileMode)Convert.ToInt32(asked, 8),
            SocketGroup = group,
        };

        await using NbdServer server = NbdServer.Inherit(kept, uri, new NoExports(), options);

        Assert.Equal((UnixFileMode)Convert.ToInt32(mode, 8), File.GetUnixFileMode(uri.SocketPath!));
    }

    [Fact]
    public async Task A_socket_whose_file_is_gone_is_refused()
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        File.Delete(uri.SocketPath!);

        AssertRefused(kept, uri, BlockErrors.NotFound);
    }

    [Fact]
    public async Task A_socket_of_another_address_is_refused_and_goes_on_for_others()
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Unix);
        using SafeSocketHandle other = Duplicate(kept);

        AssertRefused(kept, NbdUri.Parse(Unix + "2"), BlockErrors.InvalidArgument);
        AssertRefused(Duplicate(other), NbdUri.Parse("nbd://localhost:10809/"), BlockErrors.InvalidArgument);

        RawClient.Connect(uri).Dispose();
    }

    [Fact]
    public async Task A_TCP_socket_of_another_port_or_address_is_refused()
    {
        (NbdUri uri, SafeSocketHandle kept) = await LeaveAsync(Tcp);
        using SafeSocketHandle other = Duplicate(kept);

        AssertRefused(kept, uri with { Port = uri.Port == 1 ? 2 : 1 }, BlockErrors.InvalidArgument);
        AssertRefused(Duplicate(other), NbdUri.Parse($"nbd://127.0.0.2:{uri.Port}/"), BlockErrors.InvalidArgument);
        AssertRefused(Duplicate(other), NbdUri.Parse($"nbd://[::1]:{uri.Port}/"), BlockErrors.InvalidArgument);
        AssertRefused(Duplicate(other), NbdUri.Parse(Unix), BlockErrors.InvalidArgument);
    }

    [Fact]
    public void What_is_no_listening_stream_socket_is_refused()
    {
        using SafeFileHandle file = File.OpenHandle(_folder.File("f"), FileMode.CreateNew, FileAccess.ReadWrite);
        using Socket datagram = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        datagram.Bind(new UnixDomainSocketEndPoint(_folder.File("s")));
        using Socket bound = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        bound.Bind(new IPEndPoint(IPAddress.Loopback, 0));

        AssertRefused(Duplicate(file), NbdUri.Parse(Unix), BlockErrors.InvalidArgument);
        AssertRefused(new SafeSocketHandle(-1, ownsHandle: true), NbdUri.Parse(Unix), BlockErrors.InvalidArgument);
        AssertRefused(new SafeSocketHandle(1_000_000, ownsHandle: false), NbdUri.Parse(Unix), BlockErrors.InvalidArgument);
        AssertRefused(Duplicate(datagram.SafeHandle), NbdUri.Parse(Unix), BlockErrors.InvalidArgument);
        int port = ((IPEndPoint)bound.LocalEndPoint!).Port;
        AssertRefused(Duplicate(bound.SafeHandle), NbdUri.Parse($"nbd://localhost:{port}/"), BlockErrors.InvalidArgument);
    }

    private static void AssertRefused(SafeSocketHandle socket, NbdUri uri, string kind)
    {
        BlockException error =
            Assert.Throws<BlockException>(() => { NbdServer.Inherit(socket, uri, new NoExports(), new NbdServerOptions()); });

        Assert.Equal(kind, error.Kind);
        Assert.True(socket.IsClosed);
    }

    // A server that serves a client, leaves its socket to the duplicate, and ends.
    private static async Task<(NbdUri Uri, SafeSocketHandle Kept)> LeaveAsync(string uri)
    {
        await using NbdServer server = Listen(uri);
        using RawClient client = RawClient.Connect(server.Uri);
        client.Greet();
        SafeSocketHandle kept = Duplicate(server.SocketHandle);
        server.LeaveSocket();
        return (server.Uri, kept);
    }

    private static NbdServer Listen(string uri) =>
        NbdServer.Listen(NbdUri.Parse(uri), new NoExports(), new NbdServerOptions { CanLeaveSocket = true });

    private static SafeSocketHandle Duplicate(SafeHandle handle) => new(Duplicate((int)handle.DangerousGetHandle()), ownsHandle: true);

    [DllImport("libc", EntryPoint = "dup")]
    private static extern int Duplicate(int descriptor);

    [DllImport("libc", EntryPoint = "fcntl")]
    private static extern int Control(int descriptor, int command);
}
