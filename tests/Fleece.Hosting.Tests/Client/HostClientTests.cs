// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Tests.Client;

/// <summary>Calls to hosts that die, come back, are of other versions, or are no hosts.</summary>
public sealed class HostClientTests : IAsyncDisposable
{
    private readonly FakeHost _host = new();
    private HostOwner? _owner;

    private HostOwner Owner => _owner ??= new HostOwner(_host.Address);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_server_that_says_nothing_is_no_host_that_runs()
    {
        _host.Serve = _ => Task.CompletedTask;
        _host.Start();

        BlockException e = await RefusalAsync();

        Assert.Equal(HostErrors.NotRunning, e.Kind);
        Assert.Contains("says nothing", e.Message, StringComparison.Ordinal);
        Assert.Contains(_host.Address.SocketPath, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\r\n\r\n")]
    [InlineData("\0\0\0\u0002{}")]
    [InlineData("\0\0\0\u0002[]")]
    [InlineData("\0\0\0\u0004null")]
    [InlineData("\u007f\u007f\u007f\u007f")]
    [InlineData("")]
    public async Task A_server_that_sends_something_else_is_no_host(string sent)
    {
        _host.Serve = async socket =>
        {
            await socket.SendAsync(System.Text.Encoding.Latin1.GetBytes(sent));
            socket.Shutdown(SocketShutdown.Both);
        };
        _host.Start();

        Assert.Equal(HostErrors.NotRunning, (await RefusalAsync()).Kind);
    }

    [Theory]
    [InlineData(HostProtocol.Version + 1, "Start a new PowerShell")]
    [InlineData(HostProtocol.OldestVersion - 1, "Restart the host")]
    public async Task A_host_of_another_version_is_refused_and_the_message_says_which_to_restart(int version, string advice)
    {
        _host.Welcome = _host.Welcome with { ProtocolVersion = version };
        _host.Start();

        BlockException e = await RefusalAsync();

        Assert.Equal(HostErrors.VersionMismatch, e.Kind);
        Assert.Contains(advice, e.Message, StringComparison.Ordinal);
        Assert.Contains("9.9.9", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_call_that_only_asks_is_made_again_when_the_connection_ends_in_it()
    {
        _host.CallsToDieOf = 1;
        _host.Start();

        Assert.Empty(await Owner.Disks.ListDisksAsync(Token));
        Assert.Equal(2, _host.Calls);
    }

    [Fact]
    public async Task A_host_that_dies_of_each_such_call_is_not_asked_for_ever()
    {
        _host.CallsToDieOf = int.MaxValue;
        _host.Start();

        BlockException e = await RefusalAsync();

        Assert.Equal(HostErrors.CallInterrupted, e.Kind);
        Assert.Equal(3, _host.Calls);
    }

    [Fact]
    public async Task A_mount_that_was_interrupted_is_not_made_again_and_tells_that_it_was_not_done()
    {
        _host.CallsToDieOf = 1;
        _host.Start();

        BlockException e = await Assert.ThrowsAsync<BlockException>(
            () => Owner.Disks.MountAsync(new MountRequest { Address = "/vm/web.raw" }, Token).AsTask());

        Assert.Equal(HostErrors.CallInterrupted, e.Kind);
        Assert.Contains("It was not done: '/vm/web.raw' is not mounted", e.Message, StringComparison.Ordinal);
        Assert.Equal(2, _host.Calls);
    }

    [Fact]
    public async Task A_mount_that_was_interrupted_by_a_host_that_stays_away_may_have_been_done()
    {
        _host.CallsToDieOf = 4;
        _host.Start();

        BlockException e = await Assert.ThrowsAsync<BlockException>(
            () => Owner.Disks.MountAsync(new MountRequest { Address = "/vm/web.raw" }, Token).AsTask());

        Assert.Equal(HostErrors.CallInterrupted, e.Kind);
        Assert.Contains("may have been done or not", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_next_connection_brings_the_token_of_the_lease_back()
    {
        _host.Start();
        await Owner.Disks.ListDisksAsync(Token);
        await _host.StopAsync();
        _host.Start();

        await Owner.Disks.ListDisksAsync(Token);

        Assert.Equal([null, "token"], _host.Hellos.Select(hello => hello.LeaseToken));
        Assert.All(_host.Hellos, hello => Assert.Equal(Environment.ProcessId, hello.ProcessId));
    }

    [Fact]
    public async Task A_client_that_holds_something_by_its_lease_connects_again_without_a_call()
    {
        _host.Start();
        await using HostClient client = new(_host.Address);
        await client.ConnectAsync(Token);
        using IDisposable hold = client.Hold();

        await _host.StopAsync();
        _host.Start();

        while (_host.Hellos.Count < 2)
        {
            await Task.Delay(10, Token);
        }

        Assert.Equal("token", _host.Hellos[1].LeaseToken);
    }

    [Fact]
    public async Task A_call_waits_for_a_host_that_restarts()
    {
        _host.Start();
        await Owner.Disks.ListDisksAsync(Token);
        await _host.StopAsync();

        Task<IReadOnlyList<Disks.Records.DiskInfo>> call = Owner.Disks.ListDisksAsync(Token).AsTask();
        await Task.Delay(100, Token);
        Assert.False(call.IsCompleted);
        _host.Start();

        Assert.Empty(await call);
    }

    [Fact]
    public async Task A_certificate_without_a_path_is_refused_before_anything_is_sent()
    {
        _host.Start();
        using RSA key = RSA.Create(2048);
        using X509Certificate2 certificate = new CertificateRequest("CN=test", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pss)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UtcNow.AddDays(1));
        ListenRequest listener = new() { ListenUri = "nbds://localhost", Tls = new TlsFiles { Certificate = certificate } };

        BlockException e = await Assert.ThrowsAsync<BlockException>(() => Owner.Disks
            .MountAsync(new MountRequest { Address = "/vm/web.raw", Listeners = [listener] }, Token).AsTask());

        Assert.Equal(BlockErrors.InvalidArgument, e.Kind);
        Assert.Contains("Give the path of its file", e.Message, StringComparison.Ordinal);
        Assert.Empty(_host.Hellos);
    }

    public async ValueTask DisposeAsync()
    {
        if (_owner is not null)
        {
            await _owner.DisposeAsync();
        }

        await _host.DisposeAsync();
    }

    private Task<BlockException> RefusalAsync() =>
        Assert.ThrowsAsync<BlockException>(() => Owner.Disks.ListDisksAsync(Token).AsTask());
}
