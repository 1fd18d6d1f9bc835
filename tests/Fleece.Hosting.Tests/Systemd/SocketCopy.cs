// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A second descriptor of a socket: dup(2).</summary>
internal static partial class SocketCopy
{
    public static SafeSocketHandle Of(Socket socket)
    {
        nint copy = Duplicate(socket.SafeHandle);
        return copy >= 0 ? new SafeSocketHandle(copy, ownsHandle: true) : throw new Win32Exception();
    }

    [LibraryImport("libc", EntryPoint = "dup", SetLastError = true)]
    private static partial int Duplicate(SafeHandle socket);
}
