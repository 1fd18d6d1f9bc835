// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>A server of which the test writes every byte.</summary>
internal sealed class FakeServer : IDisposable
{
    private readonly TempFolder _folder = new();
    private Socket? _listener;

    public FakeServer() => Listen();

    public NbdUri Uri => NbdUri.Parse($"nbd+unix:///disk?socket={_folder.File("nbd.sock")}");

    public void Listen()
    {
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(_folder.File("nbd.sock")));
        _listener.Listen();
    }

    /// <summary>Nobody answers at the address until <see cref="Listen"/>.</summary>
    public void StopListening()
    {
        _listener!.Dispose();
        File.Delete(_folder.File("nbd.sock"));
    }

    /// <summary>The next client, before the handshake.</summary>
    public async Task<FakeConnection> AcceptAsync() => new(await _listener!.AcceptAsync().WaitAsync(TimeSpan.FromMinutes(1)));

    /// <summary>The next client, after the handshake.</summary>
    public async Task<FakeConnection> AcceptAsync(FakeExport export)
    {
        FakeConnection connection = await AcceptAsync();
        await connection.ShakeHandsAsync(export);
        return connection;
    }

    /// <summary>A node that has connected, and the server's end.</summary>
    public async Task<(NbdNode Node, FakeConnection Connection)> ConnectAsync(FakeExport export, NbdNodeOptions? options = null)
    {
        Task<FakeConnection> accepting = AcceptAsync(export);
        NbdNode node = await NbdNode.ConnectAsync(Uri, options ?? new NbdNodeOptions(), CancellationToken.None);
        return (node, await accepting);
    }

    public void Dispose()
    {
        _listener!.Dispose();
        _folder.Dispose();
    }
}
