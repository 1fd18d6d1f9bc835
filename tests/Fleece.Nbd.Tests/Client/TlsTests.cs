// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tests.Tls;
using Fleece.Nbd.Tls;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>The client over TLS, with nbdkit (GnuTLS) and with servers that cheat.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly TestAuthority _authority = new();
    private readonly X509Certificate2 _server;

    public TlsTests()
    {
        _server = _authority.IssueServer("store");
        _authority.WriteNbdkitFolder(_folder.Path, _server);
    }

    public void Dispose()
    {
        _server.Dispose();
        _authority.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData("--tls=require")]
    [InlineData("--tls=on")]
    public async Task Data_goes_both_ways_over_TLS(string mode)
    {
        using PeerServer server = PeerServer.Nbdkit(mode, $"--tls-certificates={_folder.Path}", "memory", "64M");
        await using NbdNode node = await ConnectAsync(server, Trusting());
        byte[] data = Seeds.FromEnvironment().Bytes(3 * 1024 * 1024);
        Task[] writes =
        [
            .. Enumerable.Range(0, 8).Select(
                i => node.WriteAsync(i * data.Length, data, WriteFlags.None, CancellationToken.None).AsTask()),
        ];
        await Task.WhenAll(writes);

        byte[] read = new byte[data.Length];
        await node.ReadAsync(5 * data.Length, read, CancellationToken.None);

        Assert.Equal(data, read);
    }

    [Fact]
    public async Task A_server_that_demands_TLS_is_not_used_without()
    {
        using PeerServer server = PeerServer.Nbdkit("--tls=require", $"--tls-certificates={_folder.Path}", "memory", "1M");

        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await server.ConnectAsync());

        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
        Assert.Contains("nbds", exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--tls=off")]
    [InlineData("--mask-handshake=0")]
    public async Task A_server_without_TLS_is_not_used_in_plain_text_instead(string flag)
    {
        using PeerServer server = PeerServer.Nbdkit(flag, "memory", "1M");

        await CheckRefusedAsync(server, Trusting());
    }

    [Fact]
    public async Task A_server_of_an_unknown_authority_is_refused()
    {
        using TestAuthority other = new("Another authority");
        using PeerServer server = PeerServer.Nbdkit("--tls=require", $"--tls-certificates={_folder.Path}", "memory", "1M");

        await CheckRefusedAsync(server, new TlsClientOptions(Authorities: [other.Certificate]));
    }

    [Fact]
    public async Task A_server_with_another_name_is_refused()
    {
        using PeerServer server = PeerServer.Nbdkit("--tls=require", $"--tls-certificates={_folder.Path}", "memory", "1M");

        await CheckRefusedAsync(server, Trusting(), "elsewhere");
    }

    [Fact]
    public async Task A_server_that_checks_its_clients_takes_one_with_a_certificate()
    {
        using X509Certificate2 certificate = _authority.IssueClient("backup");
        using PeerServer server = PeerServer.Nbdkit(
            "--tls=require", "--tls-verify-peer", $"--tls-certificates={_folder.Path}", "memory", "1M");

        await using NbdNode node = await ConnectAsync(server, Trusting() with { Certificate = certificate });

        await node.ReadAsync(0, new byte[4096], CancellationToken.None);
    }

    [Fact]
    public async Task A_server_that_checks_its_clients_refuses_one_without_a_certificate()
    {
        using PeerServer server = PeerServer.Nbdkit(
            "--tls=require", "--tls-verify-peer", $"--tls-certificates={_folder.Path}", "memory", "1M");

        await CheckRefusedAsync(server, Trusting());
    }

    [Fact]
    public async Task Our_own_server_refuses_a_client_without_a_certificate_in_the_same_way()
    {
        using FakeServer server = new();
        NbdUri uri = NbdUri.Parse(server.Uri.ToString().Replace("nbd+unix", "nbds+unix", StringComparison.Ordinal) + "&tls-hostname=store");
        NbdNodeOptions options = new() { Tls = Trusting() };
        Task connecting = NbdNode.ConnectAsync(uri, options, CancellationToken.None).AsTask();
        using FakeConnection connection = await server.AcceptAsync();
        await connection.GreetAsync();
        await connection.ReadOptionAsync();
        await connection.SendAsync(FakeConnection.OptionAnswer(NbdOption.StartTls, OptionReply.Ack));

        await Assert.ThrowsAsync<BlockException>(
            () => connection.StartTlsAsync(new TlsServerOptions(_server, [_authority.Certificate])));

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => connecting);
        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
    }

    [Fact]
    public async Task Plain_bytes_behind_the_agreement_on_TLS_break_the_protocol()
    {
        using FakeServer server = new();
        NbdUri uri = NbdUri.Parse(server.Uri.ToString().Replace("nbd+unix", "nbds+unix", StringComparison.Ordinal));
        Task connecting = NbdNode.ConnectAsync(uri, new NbdNodeOptions(), CancellationToken.None).AsTask();
        using FakeConnection connection = await server.AcceptAsync();
        await connection.GreetAsync();
        Assert.Equal(NbdOption.StartTls, (await connection.ReadOptionAsync()).Option);

        await connection.SendAsync(
        [
            .. FakeConnection.OptionAnswer(NbdOption.StartTls, OptionReply.Ack),
            .. FakeConnection.OptionAnswer(NbdOption.StructuredReply, OptionReply.Ack),
        ]);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => connecting);
        Assert.Equal(NbdErrors.ProtocolViolated, exception.Kind);
    }

    private static ValueTask<NbdNode> ConnectAsync(PeerServer server, TlsClientOptions tls, string name = "store") =>
        NbdNode.ConnectAsync(
            server.UriOf(string.Empty, "nbds", $"&tls-hostname={name}"), new NbdNodeOptions { Tls = tls }, CancellationToken.None);

    private static async Task CheckRefusedAsync(PeerServer server, TlsClientOptions tls, string name = "store")
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await ConnectAsync(server, tls, name));
        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
    }

    private TlsClientOptions Trusting() => new(Authorities: [_authority.Certificate]);
}
