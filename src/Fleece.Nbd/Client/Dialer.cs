// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Nbd.Client;

/// <summary>Makes connections to one export.</summary>
internal sealed class Dialer(NbdUri uri, NbdNodeOptions options)
{
    // A peer that has vanished without a word is noticed after about a minute.
    private const int KeepAliveSeconds = 30;
    private const int KeepAliveIntervalSeconds = 10;
    private const int KeepAliveCount = 3;

    /// <summary>Connects and shakes hands.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/> documents.</exception>
    public async ValueTask<NbdLink> DialAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        using CancellationTokenSource late = new(timeout, options.Time);
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        Socket socket = CreateSocket();
        Handshake? handshake = null;
        bool isDone = false;
        try
        {
            await socket.ConnectAsync(EndPoint(), limit.Token).ConfigureAwait(false);
            handshake = new Handshake(socket, uri, options);
            AgreedExport export = await handshake.RunAsync(limit.Token).ConfigureAwait(false);
            isDone = true;
            return new NbdLink(socket, handshake.Stream, export);
        }
        catch (SocketException cause)
        {
            throw ServerErrors.ConnectFailed(uri, $"{cause.Message}. Is the server running, and is the address right?", cause);
        }
        catch (OperationCanceledException cause) when (!cancellationToken.IsCancellationRequested)
        {
            throw ServerErrors.ConnectFailed(uri, $"no answer within {timeout.TotalSeconds:0.#} seconds.", cause);
        }
        finally
        {
            if (!isDone)
            {
                socket.Dispose();
                if (handshake is not null)
                {
                    await handshake.Stream.DisposeAsync().ConfigureAwait(false);
                }
            }
        }
    }

    private Socket CreateSocket()
    {
        if (uri.IsUnix)
        {
            return new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        }

        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, KeepAliveSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, KeepAliveIntervalSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, KeepAliveCount);
        return socket;
    }

    private EndPoint EndPoint()
    {
        if (!uri.IsUnix)
        {
            return new DnsEndPoint(uri.Host.Length == 0 ? "localhost" : uri.Host, uri.Port);
        }

        try
        {
            return new UnixDomainSocketEndPoint(uri.SocketPath);
        }
        catch (ArgumentException cause)
        {
            throw ServerErrors.ConnectFailed(uri, $"the path of the socket can't be one: {cause.Message}", cause);
        }
    }
}
