// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace Fleece.Block;

/// <summary>The process at the other end of a unix socket, as the kernel knows it: of a listener's, as it was when it began to listen.
/// </summary>
/// <param name="ProcessId">Its id; 0 when it lives in another container.</param>
/// <param name="UserId">Its user.</param>
/// <param name="GroupId">Its group.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SocketPeer(int ProcessId, uint UserId, uint GroupId)
{
    // SOL_SOCKET and SO_PEERCRED of include/uapi/asm-generic/socket.h; unix(7) has struct ucred.
    private const int SocketLevel = 1;
    private const int PeerCredentialsOption = 17;

    /// <summary>Asks the kernel.</summary>
    /// <exception cref="SocketException">The kernel does not tell.</exception>
    [SupportedOSPlatform("linux")]
    public static SocketPeer Of(Socket socket)
    {
        SocketPeer peer = default;
        socket.GetRawSocketOption(SocketLevel, PeerCredentialsOption, MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref peer, 1)));
        return peer;
    }
}
