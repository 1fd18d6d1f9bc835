// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Hosting.Systemd;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Systemd;

public sealed class ServiceNotifierTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public ServiceNotifierTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "systemd is on Linux");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Ready_arrives_with_the_status()
    {
        using NotifySocket systemd = new(_folder.File("notify"));

        new ServiceNotifier(systemd.Address).Ready("2 disks");

        Assert.Equal(["READY=1", "STATUS=2 disks"], systemd.Receive());
    }

    [Fact]
    public void An_abstract_socket_is_notified_too()
    {
        using NotifySocket systemd = new($"@fleece-test-{Guid.NewGuid():N}");

        new ServiceNotifier(systemd.Address).Stopping("disks are closed");

        Assert.Equal(["STOPPING=1", "STATUS=disks are closed"], systemd.Receive());
    }

    [Fact]
    public void A_status_with_line_breaks_is_no_second_assignment()
    {
        using NotifySocket systemd = new(_folder.File("notify"));

        new ServiceNotifier(systemd.Address).Status("the disk 'a\nMAINPID=1' failed");

        Assert.Equal(["STATUS=the disk 'a\\u000aMAINPID=1' failed"], systemd.Receive());
    }

    [Fact]
    public async Task A_stored_listener_takes_clients_when_the_one_who_stored_it_has_let_go()
    {
        using NotifySocket systemd = new(_folder.File("notify"));
        UnixDomainSocketEndPoint address = new(_folder.File("vm.sock"));
        using (Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            listener.Bind(address);
            listener.Listen();

            new ServiceNotifier(systemd.Address).Store("vm", listener.SafeHandle);

            // As a killed process lets go of it: the framework deletes the file of a socket that it disposes.
            File.Move(_folder.File("vm.sock"), _folder.File("kept"));
        }

        File.Move(_folder.File("kept"), _folder.File("vm.sock"));
        Assert.Equal(["FDSTORE=1", "FDNAME=vm"], systemd.Receive(out SafeSocketHandle? stored));
        using Socket taken = new(stored!);
        using Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(address, TestContext.Current.CancellationToken);
        using Socket served = await taken.AcceptAsync(TestContext.Current.CancellationToken);
        await client.SendAsync("guest"u8.ToArray(), TestContext.Current.CancellationToken);
        byte[] received = new byte[5];
        Assert.Equal(5, await served.ReceiveAsync(received, TestContext.Current.CancellationToken));
        Assert.Equal("guest"u8.ToArray(), received);
    }

    [Fact]
    public void A_removed_descriptor_is_named()
    {
        using NotifySocket systemd = new(_folder.File("notify"));

        new ServiceNotifier(systemd.Address).Remove("vm");

        Assert.Equal(["FDSTOREREMOVE=1", "FDNAME=vm"], systemd.Receive(out SafeSocketHandle? descriptor));
        Assert.Null(descriptor);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a:b")]
    [InlineData("a\nREADY=1")]
    [InlineData("größe")]
    public void A_name_that_systemd_would_refuse_is_refused_before_it_is_sent(string name)
    {
        using NotifySocket systemd = new(_folder.File("notify"));

        BlockException refused = Assert.Throws<BlockException>(() => new ServiceNotifier(systemd.Address).Remove(name));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Empty(systemd.Receive());
    }

    [Fact]
    public void A_name_of_more_than_255_characters_is_refused() =>
        Assert.Throws<BlockException>(() => DescriptorNames.Check(new string('a', 256)));

    [Fact]
    public void Without_a_socket_all_calls_do_nothing()
    {
        ServiceNotifier notifier = new(null);
        using Socket any = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        notifier.Ready("ready");
        notifier.Status("busy");
        notifier.Store("vm", any.SafeHandle);
        notifier.Remove("vm");
        notifier.Stopping("ends");

        Assert.False(notifier.IsActive);
    }

    [Fact]
    public void A_socket_that_is_gone_is_an_error_with_its_address()
    {
        string address = _folder.File("notify");

        BlockException failed = Assert.Throws<BlockException>(() => new ServiceNotifier(address).Ready("ready"));

        Assert.Equal(BlockErrors.IoFailed, failed.Kind);
        Assert.Contains($"'READY=1' at '{address}'", failed.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vsock:2:1234")]
    [InlineData("notify")]
    public void An_address_of_another_kind_is_refused(string address) =>
        Assert.Equal(BlockErrors.InvalidArgument, Assert.Throws<BlockException>(() => new ServiceNotifier(address)).Kind);
}
