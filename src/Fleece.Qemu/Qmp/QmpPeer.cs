// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fleece.Qemu.Qmp;

/// <summary>The process that listens at a unix socket, as it was when it began to listen.</summary>
/// <remarks>That is QEMU before its option -runas, or the process that handed the socket to QEMU, where one did.</remarks>
/// <param name="ProcessId">Its id; 0 when it lives in another container.</param>
/// <param name="UserId">Its user.</param>
/// <param name="GroupId">Its group.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct QmpPeer(int ProcessId, uint UserId, uint GroupId)
{
    // SOL_SOCKET and SO_PEERCRED of include/uapi/asm-generic/socket.h; unix(7) has struct ucred.
    private const int SocketLevel = 1;
    private const int PeerCredentialsOption = 17;

    /// <summary>Asks the kernel; null where it does not tell, as on other systems than Linux.</summary>
    public static QmpPeer? Of(Socket socket)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        try
        {
            QmpPeer peer = default;
            socket.GetRawSocketOption(SocketLevel, PeerCredentialsOption, MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref peer, 1)));
            return peer;
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
