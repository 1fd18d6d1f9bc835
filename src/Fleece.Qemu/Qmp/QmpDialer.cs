// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>Finds the monitor behind a socket: connects and waits for the greeting.</summary>
internal sealed class QmpDialer(string socketPath, QmpOptions options)
{
    // QEMU's listening queue has room for two clients beside the one that it serves; the kernel refuses more at once.
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>Connects.</summary>
    /// <exception cref="BlockException">As <see cref="QmpConnection.ConnectAsync"/> documents.</exception>
    public async ValueTask<(QmpWire Wire, QmpGreeting Greeting, QmpPeer? Peer)> DialAsync(CancellationToken cancellationToken)
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
            return (wire, greeting, QmpPeer.Of(socket));
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
        while (true)
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            bool isConnected = false;
            try
            {
                await socket.ConnectAsync(address, cancellationToken).ConfigureAwait(false);
                isConnected = true;
                return socket;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.TryAgain)
            {
            }
            catch (SocketException e)
            {
                throw QmpFailures.From(socketPath, e);
            }
            finally
            {
                if (!isConnected)
                {
                    socket.Dispose();
                }
            }

            await Task.Delay(RetryInterval, options.Time, cancellationToken).ConfigureAwait(false);
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
