// SPDX-License-Identifier: MIT
using System.Net.Sockets;

namespace Fleece.Qemu.Qmp;

/// <summary>Connects to a unix socket of QEMU, which serves one client at a time.</summary>
internal static class QueueingSocket
{
    // QEMU's listening queue has room for two clients beside the one that it serves; the kernel refuses more at once.
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>Connects, and tries again while the queue is full.</summary>
    /// <exception cref="SocketException">Nothing listens there, or this user may not connect.</exception>
    public static async ValueTask<Socket> ConnectAsync(
        UnixDomainSocketEndPoint address, TimeProvider time, CancellationToken cancellationToken)
    {
        while (true)
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(address, cancellationToken).ConfigureAwait(false);
                return socket;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.TryAgain)
            {
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }

            await Task.Delay(RetryInterval, time, cancellationToken).ConfigureAwait(false);
        }
    }
}
