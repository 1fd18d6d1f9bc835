// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Nbd.Server;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Who may connect to a unix socket.</summary>
[SuppressMessage("Interoperability", "CA1416", Justification = "The constructor skips where there are no file modes.")]
[Collection(nameof(SocketAccessTests))]
[CollectionDefinition(nameof(SocketAccessTests), DisableParallelization = true)]
public sealed class SocketAccessTests : IDisposable
{
    private const uint Stranger = 65534;
    private const int Group = 4242;

    private readonly TempFolder _folder = new();

    public SocketAccessTests() => Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no file modes");

    private string SocketPath => _folder.File("s");

    private NbdUri Address => NbdUri.Parse($"nbd+unix:///?socket={SocketPath}");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(null, null, "0600")]
    [InlineData("0600", null, "0600")]
    [InlineData("0640", null, "0640")]
    [InlineData("0770", null, "0770")]
    [InlineData(null, "4242", "0660")]
    [InlineData("0600", "4242", "0600")]
    public async Task The_file_has_the_mode_that_is_asked_for(string? asked, string? group, string mode)
    {
        Assert.SkipUnless(group is null || Environment.IsPrivilegedProcess, "only root may give a file to any group");
        await using NbdServer server = Listen(new NbdServerOptions { SocketMode = Mode(asked), SocketGroup = group });

        Assert.Equal(Mode(mode), File.GetUnixFileMode(SocketPath));
        Assert.Equal(Mode(mode), server.Access!.Mode);
    }

    [Theory]
    [InlineData("0000", BlockErrors.InvalidArgument)]
    [InlineData("0060", BlockErrors.InvalidArgument)]
    [InlineData("0400", BlockErrors.InvalidArgument)]
    [InlineData("0200", BlockErrors.InvalidArgument)]
    [InlineData("1600", BlockErrors.InvalidArgument)]
    [InlineData("2660", BlockErrors.InvalidArgument)]
    [InlineData("4600", BlockErrors.InvalidArgument)]
    [InlineData("177777", BlockErrors.InvalidArgument)]
    [InlineData("0666", NbdErrors.InsecureListener)]
    [InlineData("0602", NbdErrors.InsecureListener)]
    public void A_mode_that_makes_no_sense_is_refused_and_changes_nothing(string mode, string kind)
    {
        BlockException error = Assert.Throws<BlockException>(() => Listen(new NbdServerOptions { SocketMode = Mode(mode) }));

        Assert.Equal(kind, error.Kind);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_socket_for_every_user_needs_a_clear_word()
    {
        await using NbdServer server = Listen(new NbdServerOptions { SocketMode = Mode("0666"), AllowInsecure = true });

        Assert.Equal(Mode("0666"), File.GetUnixFileMode(SocketPath));
    }

    [Theory]
    [InlineData("no such group")]
    [InlineData("-1")]
    [InlineData("4294967295")]
    [InlineData("4294967296")]
    [InlineData("0x10")]
    [InlineData("")]
    public void A_group_that_does_not_exist_is_refused_and_changes_nothing(string group)
    {
        BlockException error = Assert.Throws<BlockException>(() => Listen(new NbdServerOptions { SocketGroup = group }));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Contains($"'{group}'", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_group_is_known_by_its_name()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "stat is Linux's here, and the test gives files away");
        Peer.Need("stat", "getent");
        string[] group = (await Peer.RunAsync("getent", "group", "daemon")).Split(':');

        await using NbdServer server = Listen(new NbdServerOptions { SocketGroup = "daemon" });

        Assert.Equal($"{group[2]} 660", (await Peer.RunAsync("stat", "-c", "%g %a", SocketPath)).Trim());
    }

    [Fact]
    public void TCP_has_neither_mode_nor_group()
    {
        NbdUri tcp = NbdUri.Parse("nbd://localhost:0/");

        Assert.All(
            [new NbdServerOptions { SocketMode = Mode("0660") }, new NbdServerOptions { SocketGroup = "root" }],
            options => Assert.Equal(
                BlockErrors.InvalidArgument,
                Assert.Throws<BlockException>(() => NbdServer.Listen(tcp, new NoExports(), options)).Kind));
    }

    [Fact]
    public async Task The_file_is_as_asked_before_anybody_can_connect()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "strace is Linux's, and the test gives files away");
        NbdServer? server = null;
        string[] calls = await SystemCalls.WatchAsync(_folder, "bind,lchown,chmod,fchmodat,listen", () =>
        {
            server = Listen(new NbdServerOptions { SocketMode = Mode("0660"), SocketGroup = $"{Group}" });
            return Task.CompletedTask;
        });
        await server!.DisposeAsync();

        int bind = SystemCalls.Find(calls, "bind(", SocketPath);
        int group = SystemCalls.Find(calls, "lchown(", SocketPath);
        int mode = SystemCalls.Find(calls, "chmod", SocketPath);
        int listen = Array.FindIndex(calls, bind, call => call.Contains("listen(", StringComparison.Ordinal));
        Assert.True(0 <= bind && bind < group && group < mode && mode < listen, string.Join('\n', calls));
    }

    [Theory]
    [InlineData(Group, true)]
    [InlineData(Group + 1, false)]
    public async Task Another_user_connects_by_the_group_alone(int group, bool isLetIn)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "only root can become another user");
        Peer.Need("setpriv", "nbdinfo");
        await using ServedDisk disk = new(options: new NbdServerOptions { SocketGroup = $"{Group}" });

        PeerResult result = await Peer.TryRunAsync(
            "setpriv", $"--reuid={Stranger}", $"--regid={group}", "--clear-groups", "nbdinfo", "--size", $"{disk.Server.Uri}");

        Assert.Equal(isLetIn, result.ExitCode == 0);
        Assert.Contains(isLetIn ? "1048576" : "Permission denied", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_group_that_the_user_is_no_member_of_is_refused()
    {
        Directory.CreateDirectory(_folder.File("open"), (UnixFileMode)0x1FF);
        NbdUri uri = NbdUri.Parse($"nbd+unix:///?socket={_folder.File("open/s")}");
        File.SetUnixFileMode(_folder.File("open"), (UnixFileMode)0x1FF);

        BlockException error = await AsStrangerAsync(
            () => NbdServer.Listen(uri, new NoExports(), new NbdServerOptions { SocketGroup = $"{Group}" }));

        Assert.Equal(BlockErrors.PermissionDenied, error.Kind);
        Assert.Contains("-SocketGroup", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.File("open")));
    }

    [Fact]
    public async Task A_socket_that_another_users_process_serves_is_in_use()
    {
        File.SetUnixFileMode(_folder.Path, (UnixFileMode)0x1FF);
        await using NbdServer first = Listen(new NbdServerOptions());

        BlockException error = await AsStrangerAsync(() => Listen(new NbdServerOptions()));

        Assert.Equal(NbdErrors.AddressInUse, error.Kind);
        Assert.Contains("another user", error.Message, StringComparison.Ordinal);
        using RawClient client = RawClient.Connect(first.Uri);
        client.Greet();
    }

    private static UnixFileMode? Mode(string? octal) => octal is null ? null : (UnixFileMode)Convert.ToInt32(octal, 8);

    // The kernel asks a thread's own user when it opens files and sockets. Source: setfsuid(2).
    private static async Task<BlockException> AsStrangerAsync(Func<NbdServer> listen)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "only root can become another user");
        return await OwnThread.Run(() =>
        {
            _ = SetUser(Stranger);
            try
            {
                return Assert.Throws<BlockException>(() => { listen(); });
            }
            finally
            {
                _ = SetUser(0);
            }
        });
    }

    private NbdServer Listen(NbdServerOptions options) => NbdServer.Listen(Address, new NoExports(), options);

    [DllImport("libc", EntryPoint = "setfsuid")]
    private static extern int SetUser(uint userId);
}
