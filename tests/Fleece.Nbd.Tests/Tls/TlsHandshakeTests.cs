// SPDX-License-Identifier: MIT
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Nbd.Tls;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Tls;

/// <summary>The TLS of both sides, over a socket between them.</summary>
public sealed class TlsHandshakeTests : IDisposable
{
    private static readonly NbdUri Uri = NbdUri.Parse("nbds://store/vm");

    private readonly TestAuthority _authority = new();
    private readonly TestAuthority _stranger = new("A stranger");
    private readonly X509Certificate2 _server;
    private readonly X509Certificate2 _client;

    public TlsHandshakeTests()
    {
        _server = _authority.IssueServer("store");
        _client = _authority.IssueClient("backup");
    }

    public void Dispose()
    {
        _server.Dispose();
        _client.Dispose();
        _authority.Dispose();
        _stranger.Dispose();
    }

    [Fact]
    public async Task Both_sides_agree_on_a_version_that_is_not_broken()
    {
        (SslStream? server, SslStream? client) = await RunAsync(new(_server), new(Authorities: [_authority.Certificate]));

        Assert.True(server!.SslProtocol is SslProtocols.Tls12 or SslProtocols.Tls13);
        Assert.True(client!.IsAuthenticated);
        Assert.False(client.IsMutuallyAuthenticated);
    }

    [Fact]
    public async Task A_client_with_a_certificate_is_let_in_where_one_is_demanded()
    {
        (SslStream? server, SslStream? client) = await RunAsync(
            new(_server, [_authority.Certificate]), new(_client, [_authority.Certificate]));

        Assert.True(server!.IsMutuallyAuthenticated);
        Assert.True(client!.IsMutuallyAuthenticated);
    }

    [Fact]
    public async Task A_client_without_a_certificate_is_refused_where_one_is_demanded() =>
        await CheckServerRefusesAsync(null);

    [Fact]
    public async Task A_client_of_another_authority_is_refused()
    {
        using X509Certificate2 other = _stranger.IssueClient("backup");

        await CheckServerRefusesAsync(other);
    }

    [Fact]
    public async Task A_server_certificate_does_not_make_a_client() => await CheckServerRefusesAsync(_server);

    [Fact]
    public async Task A_server_of_another_authority_is_refused()
    {
        using X509Certificate2 other = _stranger.IssueServer("store");

        await CheckClientRefusesAsync(other, new(Authorities: [_authority.Certificate]));
    }

    [Fact]
    public async Task A_server_with_another_name_is_refused()
    {
        using X509Certificate2 other = _authority.IssueServer("elsewhere");

        await CheckClientRefusesAsync(other, new(Authorities: [_authority.Certificate]));
    }

    [Fact]
    public async Task A_server_that_no_root_of_the_system_vouches_for_is_refused() => await CheckClientRefusesAsync(_server, null);

    [Fact]
    public async Task A_client_certificate_does_not_make_a_server()
    {
        using X509Certificate2 other = _authority.IssueClient("store");

        await CheckClientRefusesAsync(other, new(Authorities: [_authority.Certificate]));
    }

    [Fact]
    public async Task Bytes_that_are_not_TLS_are_refused()
    {
        using TempFolder folder = new();
        (Socket near, Socket far) = await PairAsync(folder);
        using Socket owned = far;
        await far.SendAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());

        BlockException exception = Assert.Throws<BlockException>(
            () => TlsHandshake.AuthenticateAsServer(new NetworkStream(near, ownsSocket: true), new(_server)));

        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
    }

    private async Task CheckServerRefusesAsync(X509Certificate2? clientCertificate)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            () => RunAsync(new(_server, [_authority.Certificate]), new(clientCertificate, [_authority.Certificate])));
        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
        Assert.Contains("with a client", exception.Message, StringComparison.Ordinal);
    }

    private static async Task CheckClientRefusesAsync(X509Certificate2 serverCertificate, TlsClientOptions? options)
    {
        using TempFolder folder = new();
        (Socket near, Socket far) = await PairAsync(folder);
        Task server = OnThreadAsync(
            () => TlsHandshake.AuthenticateAsServer(new NetworkStream(near, ownsSocket: true), new(serverCertificate)));

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await TlsHandshake.AuthenticateAsClientAsync(
                new NetworkStream(far, ownsSocket: true), Uri, options, CancellationToken.None));

        Assert.Equal(NbdErrors.TlsFailed, exception.Kind);
        Assert.Contains("'store'", exception.Message, StringComparison.Ordinal);
        await Record.ExceptionAsync(() => server);
    }

    // The server's outcome decides: TLS 1.3 lets a client finish before the server has looked at its certificate.
    private static async Task<(SslStream? Server, SslStream? Client)> RunAsync(TlsServerOptions server, TlsClientOptions client)
    {
        using TempFolder folder = new();
        (Socket near, Socket far) = await PairAsync(folder);
        Task<SslStream> serving = OnThreadAsync(
            () => TlsHandshake.AuthenticateAsServer(new NetworkStream(near, ownsSocket: true), server));
        SslStream? connected = null;
        try
        {
            connected = await TlsHandshake.AuthenticateAsClientAsync(
                new NetworkStream(far, ownsSocket: true), Uri, client, CancellationToken.None);
        }
        catch (BlockException)
        {
            await serving;
            throw;
        }

        return (await serving, connected);
    }

    private static Task<SslStream> OnThreadAsync(Func<SslStream> run) =>
        Task.Factory.StartNew(run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static async Task<(Socket Near, Socket Far)> PairAsync(TempFolder folder)
    {
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        UnixDomainSocketEndPoint address = new(folder.File("pair"));
        listener.Bind(address);
        listener.Listen();
        Socket far = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await far.ConnectAsync(address);
        return (await listener.AcceptAsync(), far);
    }
}
