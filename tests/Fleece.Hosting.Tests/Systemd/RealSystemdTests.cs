// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using Fleece.Hosting.Installing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>The protocols of systemd with systemd at the other end.</summary>
public sealed class RealSystemdTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public RealSystemdTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "systemd is on Linux");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_listener_outlives_a_restart_and_a_client_that_connects_meanwhile_is_served()
    {
        string socket = _folder.File("vm.sock");
        await WriteServiceAsync(socket, "TimeoutStartSec=60\nFileDescriptorStoreMax=8\nKillSignal=SIGKILL\n");
        await using PrivateSystemd systemd = await PrivateSystemd.StartAsync(_folder);
        await systemd.ControlAsync("start", "served.service");
        using Socket served = await ConnectAsync(socket);
        string[] before = await ReadAsync(served);
        string firstProcess = await systemd.FindProcessAsync("served.service");

        // The first process is busy with its client, so this one is in the queue of the listener when systemd kills the process.
        using Socket waiting = await ConnectAsync(socket);
        await systemd.ControlAsync("restart", "served.service");

        string[] after = await ReadAsync(waiting);
        string secondProcess = await systemd.FindProcessAsync("served.service");
        Assert.Equal([firstProcess, "bound", "[]", "[0]"], before);
        Assert.Equal([secondProcess, "inherited", "[]", "[0]"], after);
        Assert.NotEqual(firstProcess, secondProcess);
        Assert.Contains("Status: \"serves\"", await systemd.ControlAsync("status", "--no-pager", "served.service"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_is_started_when_it_says_that_it_is_ready_and_fails_when_it_never_does()
    {
        await WriteServiceAsync(_folder.File("vm.sock"), "TimeoutStartSec=2\nUnsetEnvironment=NOTIFY_SOCKET\n");
        await using PrivateSystemd systemd = await PrivateSystemd.StartAsync(_folder);

        Assert.NotEqual(0, (await systemd.TryControlAsync("start", "served.service")).ExitCode);
    }

    [Theory]
    [InlineData("$HOME ${USER} $$ %h %% it's \"quoted\" back\\slash\\n ; ’ größe")]
    [InlineData("two\nlines\tand \u0001\u007f")]
    [InlineData(";")]
    [InlineData("")]
    public async Task An_argument_arrives_as_it_is(string argument)
    {
        string said = _folder.File("said");
        await File.WriteAllTextAsync(
            _folder.File("says.service"),
            $"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nStandardOutput=file:{said}\n" +
            $"ExecStart={UnitSyntax.Word("/usr/bin/printf")} \"%%s|\" {UnitSyntax.Argument(argument)} \"end\"\n",
            TestContext.Current.CancellationToken);
        await using PrivateSystemd systemd = await PrivateSystemd.StartAsync(_folder);

        await systemd.ControlAsync("start", "says.service");

        Assert.Equal(argument + "|end|", await File.ReadAllTextAsync(said, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_socket_of_systemd_socket_activate_is_served()
    {
        Peer.Need("systemd-socket-activate");
        string socket = _folder.File("vm.sock");
        using Process activated = Peer.Start(
            "systemd-socket-activate",
            ["-l", socket, "--fdname=activated", .. ServingChild.CommandFor(socket)]);
        try
        {
            await ListensAsync(socket, activated);

            Assert.Equal([$"{activated.Id}", "inherited", "[]", "[0]"], await AskAsync(socket));
        }
        finally
        {
            activated.Kill();
            await activated.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public async Task Descriptors_of_another_process_are_left_alone()
    {
        Peer.Need("systemd-socket-activate");
        string socket = _folder.File("vm.sock");
        string own = _folder.File("own.sock");

        // The shell is the process that the descriptors are for, and the child of it is not.
        using Process activated = Peer.Start(
            "systemd-socket-activate",
            ["-l", socket, "--fdname=activated", "sh", "-c", "\"$0\" \"$@\"; true", .. ServingChild.CommandFor(own)]);
        try
        {
            await ListensAsync(socket, activated);

            using Socket client = await ConnectAsync(socket);
            await ListensAsync(own, activated);

            Assert.Equal("bound", (await AskAsync(own))[1]);
        }
        finally
        {
            activated.Kill(entireProcessTree: true);
            await activated.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
    }

    private async Task WriteServiceAsync(string socket, string more)
    {
        string[] words = ServingChild.CommandFor(socket);
        string command = string.Join(' ', words.Skip(1).Select(UnitSyntax.Argument).Prepend(UnitSyntax.Word(words[0])));
        await File.WriteAllTextAsync(
            _folder.File("served.service"),
            $"[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nNotifyAccess=main\nExecStart={command}\n" +
            $"Environment=HOME=/tmp\n{more}",
            TestContext.Current.CancellationToken);
    }

    // The file is there with bind(2), and until listen(2) the kernel refuses whoever connects. /proc/net/unix tells the two apart: an
    // accepting socket has the flag __SO_ACCEPTCON (proc_net(5)).
    private static async Task ListensAsync(string socket, Process server)
    {
        while (!File.ReadLines("/proc/net/unix").Any(line => line.EndsWith(socket, StringComparison.Ordinal) && line.Contains(" 00010000 ")))
        {
            Assert.False(server.HasExited);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    private static async Task<string[]> AskAsync(string socket)
    {
        using Socket client = await ConnectAsync(socket);
        return await ReadAsync(client);
    }

    private static async Task<Socket> ConnectAsync(string socket)
    {
        Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(new UnixDomainSocketEndPoint(socket), TestContext.Current.CancellationToken);
        return client;
    }

    private static async Task<string[]> ReadAsync(Socket client)
    {
        using StreamReader reader = new(new NetworkStream(client), leaveOpen: true);
        return (await reader.ReadLineAsync(TestContext.Current.CancellationToken))!.Split(' ');
    }
}
