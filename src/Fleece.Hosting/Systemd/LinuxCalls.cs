// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Hosting.Systemd;

/// <summary>The calls of Linux that systemd's protocols need and the framework does not wrap.</summary>
internal static unsafe partial class LinuxCalls
{
    // fcntl(2) and include/uapi/asm-generic/fcntl.h.
    private const int GetDescriptorFlags = 1;
    private const int SetDescriptorFlags = 2;
    private const int CloseOnExec = 1;

    // socket(7) and cmsg(3), on every architecture that .NET runs on: SOL_SOCKET, SCM_RIGHTS, MSG_NOSIGNAL.
    private const int SocketLevel = 1;
    private const int Rights = 1;
    private const int NoSignal = 0x4000;

    // socket(7): SO_ACCEPTCONN.
    private const int AcceptsConnections = 30;

    // errno(3): EINTR.
    private const int Interrupted = 4;

    /// <summary>Keeps a descriptor from the processes that this one starts. False where it is no open descriptor.</summary>
    public static bool TryCloseOnExec(int descriptor)
    {
        int flags = Control(descriptor, GetDescriptorFlags, 0);
        return flags >= 0 && Control(descriptor, SetDescriptorFlags, flags | CloseOnExec) >= 0;
    }

    /// <summary>True for the descriptor of a socket that listens.</summary>
    public static bool IsListening(int descriptor)
    {
        int value = 0;
        uint lengthBytes = sizeof(int);
        return GetOption(descriptor, SocketLevel, AcceptsConnections, &value, &lengthBytes) == 0 && value != 0;
    }

    /// <summary>Takes a variable out of the environment that native code sees and hands to its children.</summary>
    /// <remarks>Threading. getenv(3) is not safe beside it, so it is called before the process has anything to serve.</remarks>
    public static void Unset(string name) => _ = UnsetVariable(name);

    /// <summary>Sends a datagram over a connected socket, with a descriptor beside it where there is one.</summary>
    /// <returns>0, or the errno.</returns>
    public static int Send(SafeHandle socket, ReadOnlySpan<byte> message, SafeHandle? descriptor)
    {
        // CMSG_SPACE(sizeof(int)) is 24 bytes where size_t has 8, and 16 where it has 4.
        nuint* control = stackalloc nuint[3 + (sizeof(nuint) == 4 ? 1 : 0)];
        bool isHeld = false;
        try
        {
            fixed (byte* bytes = message)
            {
                IoVector vector = new() { Base = bytes, Length = (nuint)message.Length };
                MessageHeader header = new() { Vectors = &vector, VectorCount = 1 };
                if (descriptor is not null)
                {
                    descriptor.DangerousAddRef(ref isHeld);
                    ControlHeader* first = (ControlHeader*)control;
                    first->Length = (nuint)(sizeof(ControlHeader) + sizeof(int));
                    first->Level = SocketLevel;
                    first->Type = Rights;
                    *(nuint*)(first + 1) = 0;
                    *(int*)(first + 1) = (int)descriptor.DangerousGetHandle();
                    header.Control = control;
                    header.ControlLength = (nuint)(sizeof(ControlHeader) + sizeof(nuint));
                }

                while (SendMessage(socket, &header, NoSignal) < 0)
                {
                    int errno = Marshal.GetLastPInvokeError();
                    if (errno != Interrupted)
                    {
                        return errno;
                    }
                }

                return 0;
            }
        }
        finally
        {
            if (isHeld)
            {
                descriptor!.DangerousRelease();
            }
        }
    }

    // Variadic in C; Linux passes an int there as it passes others.
    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Control(int descriptor, int command, int argument);

    [LibraryImport("libc", EntryPoint = "getsockopt")]
    private static partial int GetOption(int descriptor, int level, int name, int* value, uint* lengthBytes);

    [LibraryImport("libc", EntryPoint = "unsetenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnsetVariable(string name);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMessage(SafeHandle socket, MessageHeader* header, int flags);

    // struct iovec, readv(2).
    private struct IoVector
    {
        public byte* Base;
        public nuint Length;
    }

    // struct msghdr as the kernel reads it: include/linux/socket.h, struct user_msghdr.
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public void* Name;
        public int NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public uint Flags;
    }

    // struct cmsghdr, include/linux/socket.h; the data follows, aligned to size_t.
    [StructLayout(LayoutKind.Sequential)]
    private struct ControlHeader
    {
        public nuint Length;
        public int Level;
        public int Type;
    }
}
