// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.Versioning;
using Fleece.Block;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Tests.Host;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Client;

/// <summary>Sockets that are no host's, and sockets that this user may not use.</summary>
[SupportedOSPlatform("linux")]
public sealed class HostSocketTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public HostSocketTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "a host needs Linux");

    private string SocketPath => _folder.File("host.sock");

    [Fact]
    public async Task Where_nothing_lies_no_host_runs()
    {
        BlockException e = await RefusalAsync(SocketPath);

        Assert.Equal(HostErrors.NotRunning, e.Kind);
        Assert.Contains("no such file", e.Message, StringComparison.Ordinal);
        Assert.Contains($"Start-FleeceHost -SocketPath '{SocketPath}', with the -StatePath", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_host_of_the_system_is_started_by_the_system()
    {
        BlockException e = HostSocket.NotRunning(HostProtocol.DefaultSocketPath, "no such file.");

        Assert.Contains("systemctl start fleece, or Start-FleeceHost)", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_is_no_socket()
    {
        await File.WriteAllTextAsync(SocketPath, "text", TestContext.Current.CancellationToken);

        BlockException e = await RefusalAsync(SocketPath);

        Assert.Equal(HostErrors.NotRunning, e.Kind);
        Assert.Contains("no socket", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_link_is_not_followed_because_its_owner_could_turn_it_elsewhere()
    {
        using Socket listener = Listen(_folder.File("real.sock"));
        File.CreateSymbolicLink(SocketPath, _folder.File("real.sock"));

        Assert.Equal(HostErrors.NotRunning, (await RefusalAsync(SocketPath)).Kind);
    }

    [Fact]
    public async Task A_socket_that_a_killed_host_left_is_named_as_that()
    {
        // Bound and not listening: the system refuses as it does after a kill.
        using Socket dead = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        dead.Bind(new UnixDomainSocketEndPoint(SocketPath));

        BlockException e = await RefusalAsync(SocketPath);

        Assert.Equal(HostErrors.NotRunning, e.Kind);
        Assert.Contains("left of a host", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_longer_than_the_system_allows_is_named_as_that()
    {
        BlockException e = await RefusalAsync("/tmp/" + new string('s', 200));

        Assert.Equal(HostErrors.NotRunning, e.Kind);
        Assert.Contains("107 bytes", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_relative_path_is_refused() =>
        Assert.Equal(BlockErrors.InvalidArgument, (await RefusalAsync("./host.sock")).Kind);

    [Fact]
    public async Task Another_users_socket_gets_nothing()
    {
        ThreadUser.Need();
        using Socket listener = Listen(SocketPath);
        await GiveAsync(SocketPath, "nobody");

        BlockException e = await RefusalAsync(SocketPath);

        Assert.Equal(HostErrors.SocketForeign, e.Kind);
        Assert.Contains(SocketPath, e.Message, StringComparison.Ordinal);
        Assert.False(listener.Poll(0, SelectMode.SelectRead));
    }

    [Fact]
    public async Task A_listener_of_another_user_behind_a_file_of_roots_is_refused()
    {
        ThreadUser.Need();
        File.SetUnixFileMode(_folder.Path, (UnixFileMode)0b111_111_111);
        using Socket listener = ThreadUser.Run(ThreadUser.Nobody, [], () => Listen(SocketPath));
        await GiveAsync(SocketPath, "root");

        BlockException e = await RefusalAsync(SocketPath);

        Assert.Equal(HostErrors.SocketForeign, e.Kind);
        Assert.Contains("process", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("daemon", true, "usermod -aG daemon")]
    [InlineData("daemon", false, "-SocketGroup")]
    [InlineData("root", false, "-SocketGroup")]
    public async Task A_user_without_the_right_to_the_socket_is_told_of_its_group(string group, bool letsGroupIn, string advice)
    {
        ThreadUser.Need();
        using Socket listener = Listen(SocketPath);
        await GiveAsync(SocketPath, $"root:{group}");
        File.SetUnixFileMode(
            SocketPath,
            UnixFileMode.UserRead | UnixFileMode.UserWrite | (letsGroupIn ? UnixFileMode.GroupRead | UnixFileMode.GroupWrite : 0));
        File.SetUnixFileMode(_folder.Path, (UnixFileMode)0b111_101_101);

        BlockException e = ThreadUser.Run(ThreadUser.Nobody, [], () =>
            Assert.ThrowsAny<BlockException>(() => HostSocket.ConnectAsync(SocketPath, default).AsTask().GetAwaiter().GetResult()));

        Assert.Equal(HostErrors.AccessRefused, e.Kind);
        Assert.Contains(advice, e.Message, StringComparison.Ordinal);
        Assert.Equal(letsGroupIn, e.Message.Contains("usermod", StringComparison.Ordinal));
    }

    public void Dispose() => _folder.Dispose();

    private static Socket Listen(string path)
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        return listener;
    }

    private static async Task GiveAsync(string path, string user)
    {
        using Process chown = Process.Start("chown", [user, path]);
        await chown.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, chown.ExitCode);
    }

    private static Task<BlockException> RefusalAsync(string path) => Assert.ThrowsAsync<BlockException>(
        async () => (await HostSocket.ConnectAsync(path, TestContext.Current.CancellationToken)).Dispose());
}
