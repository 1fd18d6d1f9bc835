// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A socket that messages for systemd arrive at, with their descriptors.</summary>
internal sealed unsafe partial class NotifySocket : IDisposable
{
    // MSG_DONTWAIT and MSG_CMSG_CLOEXEC, include/linux/socket.h.
    private const int Flags = 0x40 | 0x40000000;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);

    public NotifySocket(string address)
    {
        Address = address;
        _socket.Bind(new UnixDomainSocketEndPoint(address[0] == '@' ? '\0' + address[1..] : address));
    }

    public string Address { get; }

    /// <summary>The next message, which has arrived already; empty when there is none.</summary>
    public string[] Receive() => Receive(out _);

    /// <inheritdoc cref="Receive()"/>
    public string[] Receive(out SafeSocketHandle? descriptor)
    {
        byte[] message = new byte[4096];
        nuint* control = stackalloc nuint[8];
        fixed (byte* bytes = message)
        {
            nuint* vector = stackalloc nuint[2] { (nuint)bytes, (nuint)message.Length };
            // struct msghdr of a 64-bit system: name, its length, vectors, their count, control, its length, flags.
            nuint* header = stackalloc nuint[7] { 0, 0, (nuint)vector, 1, (nuint)control, 8 * (nuint)sizeof(nuint), 0 };
            nint lengthBytes = ReceiveMessage(_socket.SafeHandle, header, Flags);
            descriptor = lengthBytes >= 0 && header[5] != 0 ? new SafeSocketHandle(*(int*)(control + 2), ownsHandle: true) : null;
            return lengthBytes < 0 ? [] : Encoding.UTF8.GetString(bytes, (int)lengthBytes).Split('\n');
        }
    }

    public void Dispose() => _socket.Dispose();

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint ReceiveMessage(SafeHandle socket, void* header, int flags);
}
