// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Records;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Which clients a host lets in, and how.</summary>
public sealed class HelloTests : IAsyncDisposable
{
    private const string Group = "54321";

    private readonly HostRig _rig = new();

    [Fact]
    public async Task The_host_answers_Hello_with_its_version_and_a_new_lease()
    {
        await _rig.StartAsync();

        HostWelcome first = await _rig.Open(_rig.Connect()).HelloAsync();
        HostWelcome second = await _rig.Open(_rig.Connect()).HelloAsync();

        Assert.Equal(HostProtocol.Version, first.ProtocolVersion);
        Assert.Equal(HostParts.ModuleVersion, first.ModuleVersion);
        Assert.False(first.IsResumed);
        Assert.Equal(32, first.LeaseToken.Length);
        Assert.NotEqual(first.LeaseToken, second.LeaseToken);
        Assert.Equal(first.HostId, second.HostId);
    }

    [Fact]
    public async Task Nothing_is_answered_before_Hello()
    {
        await _rig.StartAsync();
        TestClient client = _rig.Open(_rig.Connect());

        BlockException asked = await Assert.ThrowsAsync<BlockException>(client.ListDisksAsync);
        BlockException changed = await Assert.ThrowsAsync<BlockException>(() => client.MountAsync("/x.raw"));

        Assert.Equal(HostErrors.AccessRefused, asked.Kind);
        Assert.Equal(HostErrors.AccessRefused, changed.Kind);
    }

    [Fact]
    public async Task A_second_Hello_is_refused()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => client.HelloAsync());

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
    }

    [Theory]
    [InlineData(HostProtocol.Version + 1, "Restart the host")]
    [InlineData(0, "Start a new PowerShell")]
    public async Task A_client_without_a_common_version_hears_which_side_to_restart(int version, string advice)
    {
        await _rig.StartAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => _rig.Open(_rig.Connect()).HelloAsync(version: version));

        Assert.Equal(HostErrors.VersionMismatch, refused.Kind);
        Assert.Contains(advice, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_says_nothing_is_closed_after_some_seconds()
    {
        await _rig.StartAsync();
        using Socket silent = _rig.Connect();
        await HostRig.UntilAsync(() => _rig.Time.ArmedTimers != 0);

        _rig.Time.Advance(HostServer.HandshakeTime);

        Assert.Equal(0, await silent.ReceiveAsync(new byte[1], TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_user_outside_the_group_is_refused_with_the_reason()
    {
        ThreadUser.Need();
        await _rig.StartAsync(Group);
        HostRig.Open(_rig.SocketPath);
        _rig.OpenTheFolder();

        TestClient stranger = _rig.Open(ThreadUser.Run(ThreadUser.Nobody, [], _rig.Connect));
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => stranger.HelloAsync());

        Assert.Equal(HostErrors.AccessRefused, refused.Kind);
        Assert.Contains($"'{Group}'", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_member_of_the_group_by_a_supplementary_group_is_let_in()
    {
        ThreadUser.Need();
        await _rig.StartAsync(Group);
        _rig.OpenTheFolder();

        TestClient member = _rig.Open(ThreadUser.Run(
            ThreadUser.Nobody, [uint.Parse(Group, CultureInfo.InvariantCulture)], _rig.Connect));
        await member.HelloAsync();

        Assert.Empty(await member.ListDisksAsync());
    }

    [Fact]
    public async Task The_socket_is_its_owners_alone_without_a_group_and_the_groups_with_one()
    {
        await _rig.StartAsync();
        int alone = HostRig.ModeOf(_rig.SocketPath);
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "root can give a file to any group; this is not root");
        await _rig.StartAsync(Group);

        Assert.Equal(0x180, alone);
        Assert.Equal(0x1B0, HostRig.ModeOf(_rig.SocketPath));
    }

    [Fact]
    public async Task A_second_host_on_the_socket_is_refused()
    {
        await _rig.StartAsync();

        BlockException refused = Assert.Throws<BlockException>(() => HostProcess.Start(new HostOptions
        {
            SocketPath = _rig.SocketPath,
            StatePath = _rig.Folder.File("other-state"),
            Guard = HostRig.NoGuard,
            Log = TextWriter.Null,
        }));

        Assert.Equal(HostErrors.AlreadyRunning, refused.Kind);
        await _rig.ConnectAsync();
    }

    [Fact]
    public async Task A_socket_file_that_a_killed_host_left_is_replaced_and_one_that_is_no_socket_stays()
    {
        using (Socket left = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            left.Bind(new UnixDomainSocketEndPoint(_rig.Folder.File("a.sock")));
            File.Move(_rig.Folder.File("a.sock"), _rig.SocketPath);
        }

        await _rig.StartAsync();
        await _rig.ConnectAsync();
        await _rig.StopAsync();
        Assert.False(File.Exists(_rig.SocketPath));

        await File.WriteAllTextAsync(_rig.SocketPath, "precious", TestContext.Current.CancellationToken);
        await Assert.ThrowsAsync<BlockException>(() => _rig.StartAsync());
        Assert.Equal("precious", await File.ReadAllTextAsync(_rig.SocketPath, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task The_host_tells_of_itself()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));

        HostInfo info = await client.CallAsync<HostInfo>(nameof(IHostControl.GetHostInfoAsync), new { });

        Assert.Equal(_rig.SocketPath, info.SocketPath);
        Assert.Equal(Environment.ProcessId, info.ProcessId);
        Assert.Equal(1, info.DiskCount);
        Assert.Equal(1, info.ClientCount);
        Assert.Equal(_rig.StatePath, info.StatePath);
        Assert.Empty(info.Problems);
    }

    [Fact]
    public async Task Each_connection_and_each_change_has_a_line_in_the_log()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string path = await _rig.AddImageAsync("web");
        await client.MountAsync(path);
        await Assert.ThrowsAsync<BlockException>(() => client.MountAsync("/no\u001b[2Jthing\nfleece: forged"));
        await _rig.StopAsync();

        string[] lines = _rig.Log.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string who = $"process {Environment.ProcessId}: ";
        Assert.Contains(lines, line => line.EndsWith($"{who}connected with version 9.9.9", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.EndsWith($"{who}mount {path}: done", StringComparison.Ordinal));
        string printable = $"{who}mount /no\\u001b[2Jthing\\u000afleece: forged: refused";
        Assert.Contains(lines, line => line.Contains(printable, StringComparison.Ordinal));
        Assert.DoesNotContain(lines, line => line.StartsWith("fleece: forged", StringComparison.Ordinal));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();
}
