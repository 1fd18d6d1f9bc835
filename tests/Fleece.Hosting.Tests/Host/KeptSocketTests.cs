// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using Fleece.Hosting.Control;
using Fleece.Hosting.Systemd;
using Fleece.Hosting.Tests.Systemd;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Listeners that the service manager gives back, and what it hears of the disks meanwhile.</summary>
public sealed class KeptSocketTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();
    private readonly NotifySocket _systemd;
    private string _image = string.Empty;

    public KeptSocketTests()
    {
        _systemd = new NotifySocket(_rig.Folder.File("notify"));
        _rig.Notifier = new ServiceNotifier(_systemd.Address);
    }

    private string SocketPath => _rig.Folder.File("run/web.sock");

    [Fact]
    public async Task A_client_of_a_disk_that_failed_once_waits_and_is_served_when_the_disk_is_back()
    {
        await StartWithoutTheImageAsync();
        using Socket client = await ConnectAsync();
        Assert.Equal(["READY=1", "STATUS=serves 0 disks; 1 fail, see Get-FleeceHost"], LastMessage());

        File.Move(_image + ".away", _image);
        await AdvanceUntilAsync(() => _rig.Mounted.All.Count == 1);

        Assert.Equal("NBDMAGIC", await ReadAsync(client));
        await HostRig.UntilAsync(() => _rig.Host.Describe().Problems.Count == 0);
        await HostRig.UntilAsync(() => LastMessage() is ["STATUS=serves 1 disk"]);
    }

    [Fact]
    public async Task A_client_of_a_disk_that_is_given_up_is_let_go()
    {
        await StartWithoutTheImageAsync();
        string name = DescriptorNames.OfSocketFile(SocketPath)!;
        using Socket client = await ConnectAsync();
        TestClient shell = await _rig.ConnectAsync();
        _ = LastMessage();

        await shell.DismountAsync("web");

        SocketException ended = await Assert.ThrowsAsync<SocketException>(() => ReadAsync(client));
        Assert.Equal(SocketError.ConnectionReset, ended.SocketErrorCode);
        Assert.Contains($"FDSTOREREMOVE=1 FDNAME={name}", Messages());
    }

    [Fact]
    public async Task A_socket_that_no_disk_of_the_state_has_is_let_go_when_the_host_is_ready()
    {
        using Socket listener = Listen();
        _rig.Inherited = Inherit("unix-of-no-disk", listener);

        await _rig.StartAsync();

        Assert.Equal(["FDSTOREREMOVE=1 FDNAME=unix-of-no-disk", "READY=1 STATUS=serves 0 disks"], Messages());
    }

    [Fact]
    public async Task The_status_follows_mounts_and_dismounts_until_the_host_ends()
    {
        await _rig.StartAsync();
        TestClient shell = await _rig.ConnectAsync();
        await shell.MountAsync(await _rig.AddImageAsync("web"));
        await shell.DismountAsync("web");
        await _rig.StopAsync();

        Assert.Equal(
            ["READY=1 STATUS=serves 0 disks", "STATUS=serves 1 disk", "STATUS=serves 0 disks", "STOPPING=1 STATUS=closes its disks"],
            Messages());
    }

    public async ValueTask DisposeAsync()
    {
        _systemd.Dispose();
        await _rig.DisposeAsync();
    }

    // The state has a disk with a listener; the image is gone, and the listener comes from the process before.
    private async Task StartWithoutTheImageAsync()
    {
        _rig.Notifier = new ServiceNotifier(null);
        await _rig.StartAsync();
        TestClient shell = await _rig.ConnectAsync();
        _image = await _rig.AddImageAsync("web");
        await shell.MountAsync(new MountRequest
        {
            Address = _image,
            Listeners = [new ListenRequest { ListenUri = $"nbd+unix:///?socket={SocketPath}" }],
        });
        await _rig.StopAsync();
        File.Move(_image, _image + ".away");
        using Socket listener = Listen();
        _rig.Notifier = new ServiceNotifier(_systemd.Address);
        _rig.Inherited = Inherit(DescriptorNames.OfSocketFile(SocketPath)!, listener);
        await _rig.StartAsync();
    }

    private Socket Listen()
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        listener.Listen();
        return listener;
    }

    // A duplicate, as systemd hands one out. The framework deletes the file of a socket that it has bound and disposes.
    private InheritedDescriptors Inherit(string name, Socket listener)
    {
        SafeSocketHandle copy = SocketCopy.Of(listener);
        File.Move(SocketPath, SocketPath + ".kept");
        listener.Dispose();
        File.Move(SocketPath + ".kept", SocketPath);
        return new InheritedDescriptors(new Dictionary<string, SafeSocketHandle> { [name] = copy });
    }

    private async Task<Socket> ConnectAsync()
    {
        Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(new UnixDomainSocketEndPoint(SocketPath), TestContext.Current.CancellationToken);
        return client;
    }

    private static async Task<string> ReadAsync(Socket client)
    {
        byte[] greeting = new byte[8];
        int lengthBytes = await client.ReceiveAsync(greeting, TestContext.Current.CancellationToken);
        return Encoding.ASCII.GetString(greeting, 0, lengthBytes);
    }

    private Task AdvanceUntilAsync(Func<bool> happened) => HostRig.UntilAsync(() =>
    {
        _rig.Time.Advance(TimeSpan.FromSeconds(1));
        return happened();
    });

    private List<string> Messages()
    {
        List<string> messages = [];
        while (_systemd.Receive() is { Length: > 0 } message)
        {
            messages.Add(string.Join(' ', message));
        }

        return messages;
    }

    private string[] LastMessage()
    {
        string[] last = [];
        while (_systemd.Receive() is { Length: > 0 } message)
        {
            last = message;
        }

        return last;
    }
}
