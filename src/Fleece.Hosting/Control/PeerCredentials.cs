// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Block;

namespace Fleece.Hosting.Control;

/// <summary>The process at the other end of a unix socket, as the kernel knows it: of a listener's, as it was when it began to listen.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct PeerCredentials(int ProcessId, uint UserId, uint GroupId)
{
    // SOL_SOCKET and SO_PEERCRED of include/uapi/asm-generic/socket.h; unix(7) has struct ucred.
    private const int SocketLevel = 1;
    private const int PeerCredentialsOption = 17;

    /// <summary>Asks the kernel.</summary>
    /// <exception cref="BlockException">HostErrors.NotHere: on other systems than Linux. HostErrors.AccessRefused: the kernel does not
    /// tell.</exception>
    public static PeerCredentials Of(Socket socket)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(HostErrors.NotHere, "A Fleece host needs Linux, which tells each side the user of the other.");
        }

        try
        {
            PeerCredentials peer = default;
            socket.GetRawSocketOption(
                SocketLevel, PeerCredentialsOption, MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref peer, 1)));
            return peer;
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
