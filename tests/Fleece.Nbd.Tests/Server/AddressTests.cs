// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Server;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Where a server listens, and what it does with what lies there.</summary>
public sealed class AddressTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string SocketPath => _folder.File("s");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_unix_socket_is_its_owners_alone_and_goes_with_the_server()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no file modes");
        await using (Listen())
        {
#pragma warning disable CA1416 // The analyzer does not see that the skip above keeps Windows out.
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(SocketPath));
#pragma warning restore CA1416
        }

        Assert.False(File.Exists(SocketPath));
    }

    [Fact]
    public async Task A_socket_that_a_killed_server_left_is_replaced()
    {
        LeaveStaleSocket();

        await using NbdServer server = Listen();

        using RawClient client = RawClient.Connect(server.Uri);
        client.Greet();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    public async Task A_file_is_refused_and_untouched(int lengthBytes)
    {
        byte[] content = new byte[lengthBytes];
        await File.WriteAllBytesAsync(SocketPath, content, TestContext.Current.CancellationToken);

        AssertInUse();

        Assert.Equal(content, await File.ReadAllBytesAsync(SocketPath, TestContext.Current.CancellationToken));
    }

    // Opening it fails as opening a socket does, only for another reason.
    [Fact]
    public void A_file_that_somebody_has_locked_is_refused_and_untouched()
    {
        using FileStream locked = new(SocketPath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);

        AssertInUse();

        Assert.True(File.Exists(SocketPath));
    }

    [Fact]
    public async Task A_pipe_is_refused_without_waiting_for_its_writer()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "mkfifo and the behaviour of pipes are Linux's here");
        using (Process mkfifo = Process.Start("mkfifo", SocketPath))
        {
            await mkfifo.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        await OwnThread.Run(AssertInUse).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

        Assert.True(File.Exists(SocketPath));
    }

    [Fact]
    public void A_folder_is_refused_and_untouched()
    {
        Directory.CreateDirectory(SocketPath);

        AssertInUse();

        Assert.True(Directory.Exists(SocketPath));
    }

    [Fact]
    public void A_link_that_leads_nowhere_is_refused_and_untouched()
    {
        File.CreateSymbolicLink(SocketPath, _folder.File("nothing"));

        AssertInUse();

        Assert.Equal(_folder.File("nothing"), new FileInfo(SocketPath).LinkTarget);
    }

    [Fact]
    public void A_folder_that_is_missing_is_named_and_not_made()
    {
        BlockException error = Assert.Throws<BlockException>(() => Listen(_folder.File("missing/s")));

        Assert.Equal(NbdErrors.UriInvalid, error.Kind);
        Assert.Contains($"'{_folder.File("missing")}'", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_listener_whose_queue_is_full_is_refused_without_waiting()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "the length of a queue is Linux's here");
        using Socket busy = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        busy.Bind(new UnixDomainSocketEndPoint(SocketPath));
        busy.Listen(0);
        using Socket waiting = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        waiting.Connect(new UnixDomainSocketEndPoint(SocketPath));

        await OwnThread.Run(AssertInUse).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_live_listener_is_refused_and_untouched()
    {
        await using NbdServer first = Listen();

        AssertInUse();

        using RawClient client = RawClient.Connect(first.Uri);
        client.Greet();
    }

    [Fact]
    public void A_path_that_is_too_long_for_the_system_is_refused()
    {
        BlockException error = Assert.Throws<BlockException>(() => Listen(_folder.File(new string('x', 150))));

        Assert.Equal(NbdErrors.UriInvalid, error.Kind);
    }

    [Fact]
    public async Task Port_0_lets_the_system_choose_and_is_told()
    {
        await using ServedDisk disk = new(uri: "nbd://localhost:0/");

        Assert.InRange(disk.Server.Uri.Port, 1, 65535);
        using RawClient client = disk.Go();
        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Fact]
    public async Task A_port_that_is_taken_is_in_use()
    {
        await using ServedDisk first = new(uri: "nbd://localhost:0/");

        BlockException error = Assert.Throws<BlockException>(
            () => NbdServer.Listen(first.Server.Uri, first, new NbdServerOptions()));

        Assert.Equal(NbdErrors.AddressInUse, error.Kind);
    }

    [Theory]
    [InlineData("nbd://0.0.0.0:0/")]
    [InlineData("nbd://[::]:0/")]
    public async Task Beyond_this_machine_TLS_or_a_clear_word_is_needed(string uri)
    {
        await using ServedDisk disk = new();

        BlockException error = Assert.Throws<BlockException>(
            () => NbdServer.Listen(NbdUri.Parse(uri), disk, new NbdServerOptions()));

        Assert.Equal(NbdErrors.InsecureListener, error.Kind);
    }

    [Fact]
    public async Task Beyond_this_machine_a_clear_word_is_enough()
    {
        await using ServedDisk disk = new(options: new NbdServerOptions { AllowInsecure = true }, uri: "nbd://0.0.0.0:0/");

        using RawClient client = disk.Go();

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Fact]
    public async Task A_scheme_with_TLS_needs_a_certificate()
    {
        await using ServedDisk disk = new();

        BlockException error = Assert.Throws<BlockException>(
            () => NbdServer.Listen(NbdUri.Parse("nbds://localhost:0/"), disk, new NbdServerOptions()));

        Assert.Equal(NbdErrors.TlsFailed, error.Kind);
    }

    private NbdServer Listen(string? path = null) => NbdServer.Listen(
        NbdUri.Parse($"nbd+unix:///?socket={path ?? SocketPath}"), new NoExports(), new NbdServerOptions());

    private void AssertInUse() => Assert.Equal(NbdErrors.AddressInUse, Assert.Throws<BlockException>(() => Listen()).Kind);

    // A bound socket removes its file when it is closed, unless the file has another name by then.
    private void LeaveStaleSocket()
    {
        using (Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            socket.Bind(new UnixDomainSocketEndPoint(_folder.File("bound")));
            File.Move(_folder.File("bound"), SocketPath);
        }

        Assert.True(File.Exists(SocketPath));
    }
}
