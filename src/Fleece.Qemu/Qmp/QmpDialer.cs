// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>Finds the monitor behind a socket: connects and waits for the greeting.</summary>
internal sealed class QmpDialer(string socketPath, QmpOptions options)
{
    /// <summary>Connects.</summary>
    /// <exception cref="BlockException">As <see cref="QmpConnection.ConnectAsync"/> documents.</exception>
    public async ValueTask<(QmpWire Wire, QmpGreeting Greeting, SocketPeer? Peer)> DialAsync(CancellationToken cancellationToken)
    {
        UnixDomainSocketEndPoint address = AddressOf();
        using CancellationTokenSource late = new(options.GreetingTimeout, options.Time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        Socket? socket = null;
        QmpWire? wire = null;
        bool isDone = false;
        try
        {
            socket = await ConnectAsync(address, limit.Token).ConfigureAwait(false);
            wire = new QmpWire(socket, socketPath, options);
            QmpGreeting greeting = await GreetAsync(wire, limit.Token).ConfigureAwait(false);
            isDone = true;
            return (wire, greeting, PeerOf(socket));
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw wire?.HasBegunMessage == true
                ? QmpFailures.NotQmp(socketPath, "it began a greeting and did not end it", e)
                : QmpFailures.Busy(socketPath, options.GreetingTimeout, e);
        }
        finally
        {
            if (!isDone)
            {
                socket?.Dispose();
            }
        }
    }

    private UnixDomainSocketEndPoint AddressOf()
    {
        try
        {
            return new UnixDomainSocketEndPoint(socketPath);
        }
        catch (ArgumentException e)
        {
            throw QmpFailures.PathUnusable(socketPath, e);
        }
    }

    private async ValueTask<Socket> ConnectAsync(UnixDomainSocketEndPoint address, CancellationToken cancellationToken)
    {
        try
        {
            return await QueueingSocket.ConnectAsync(address, options.Time, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw QmpFailures.From(socketPath, e);
        }
    }

    // That of QEMU before its option -runas, or the process that handed the socket to QEMU. Null where the system does not tell.
    private static SocketPeer? PeerOf(Socket socket)
    {
        try
        {
            return OperatingSystem.IsLinux() ? SocketPeer.Of(socket) : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    // A guest's agent is silent until it is asked, and a busy monitor keeps the question until it takes the connection, and refuses it.
    private async ValueTask<QmpGreeting> GreetAsync(QmpWire wire, CancellationToken cancellationToken)
    {
        JsonElement message;
        using CancellationTokenSource half = new(options.GreetingTimeout / 2, options.Time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, half.Token);
        try
        {
            message = await wire.ReceiveAsync("connect", limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await wire.SendAsync(wire.Write("execute", "guest-ping", null, out _), cancellationToken).ConfigureAwait(false);
            message = await wire.ReceiveAsync("connect", cancellationToken).ConfigureAwait(false);
        }

        return QmpGreeting.TryRead(message) ?? throw QmpFailures.NotQmp(
            socketPath,
            message.TryGetProperty("QMP", out _) ? "its greeting has no version" : "it answers without a greeting, as a guest agent does");
    }
}
