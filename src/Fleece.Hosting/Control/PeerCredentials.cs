// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;

namespace Fleece.Hosting.Control;

/// <summary>The user at the other end of a control socket, without whom a host and its clients do not work together.</summary>
internal static class PeerCredentials
{
    /// <summary>Asks the kernel.</summary>
    /// <exception cref="BlockException">HostErrors.NotHere: on other systems than Linux. HostErrors.AccessRefused: the kernel does not
    /// tell.</exception>
    public static SocketPeer Of(Socket socket)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(HostErrors.NotHere, "A Fleece host needs Linux, which tells each side the user of the other.");
        }

        try
        {
            return SocketPeer.Of(socket);
        }
        catch (SocketException cause)
        {
            throw new BlockException(
                HostErrors.AccessRefused,
                $"The system does not tell the user at the other end of a socket: {cause.Message}.",
                cause: cause);
        }
    }
}
