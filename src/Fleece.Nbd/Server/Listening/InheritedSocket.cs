// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Nbd.Server.Listening;

/// <summary>A listening socket that another process has opened and handed over, as systemd does. Linux only.</summary>
internal static class InheritedSocket
{
    // fcntl(2), include/uapi/asm-generic/fcntl.h.
    private const int SetDescriptorFlags = 2;
    private const int GetStatusFlags = 3;
    private const int SetStatusFlags = 4;
    private const int CloseOnExec = 1;
    private const int NonBlocking = 0x800;

    // socket(7), include/uapi/asm-generic/socket.h.
    private const int SocketLevel = 1;
    private const int IsListeningOption = 30;

    /// <summary>Takes a socket over.</summary>
    /// <param name="handle">The socket. The returned one owns it.</param>
    /// <param name="uri">The address that it must listen at.</param>
    /// <param name="address">The URI's IP address; null for a unix socket.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/> when the socket's file is gone, so that no client can reach it;
    /// <see cref="NbdErrors.AddressInUse"/> when another kind of file is in its place; <see cref="BlockErrors.InvalidArgument"/> when it
    /// is no listening socket, or that of another address.</exception>
    public static Socket Take(SafeSocketHandle handle, NbdUri uri, IPAddress? address)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(BlockErrors.Unsupported, $"A socket for '{uri}' can be inherited on Linux only.");
        }

        SetFlags(handle, uri);
        Socket socket = Wrap(handle, uri);
        try
        {
            Check(socket, uri, address);
            return socket;
        }
        catch
        {
            Drop(socket);
            throw;
        }
    }

    /// <summary>Closes this process's descriptor of a socket and nothing else. Disposing the socket would shut it down in every process
    /// that has it, and remove the file of one that was bound here.</summary>
    public static void Drop(Socket socket)
    {
        socket.SafeHandle.Dispose();
#pragma warning disable CA1816 // The finalizer would remove the file.
        GC.SuppressFinalize(socket);
#pragma warning restore CA1816
    }

    private static void SetFlags(SafeSocketHandle handle, NbdUri uri)
    {
        // A child process must not keep the address. A socket that does not block would be waited for with more system calls.
        int flags = -1;
        if (handle.IsInvalid || LibC.Control(handle, SetDescriptorFlags, CloseOnExec) < 0 ||
            (flags = LibC.Control(handle, GetStatusFlags, 0)) < 0 ||
            LibC.Control(handle, SetStatusFlags, flags & ~NonBlocking) < 0)
        {
            throw Invalid(uri, "it is no open descriptor");
        }
    }

    private static Socket Wrap(SafeSocketHandle handle, NbdUri uri)
    {
        try
        {
            return new Socket(handle);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw Invalid(uri, "it is no socket", e);
        }
    }

    private static void Check(Socket socket, NbdUri uri, IPAddress? address)
    {
        AddressFamily family = address?.AddressFamily ?? AddressFamily.Unix;
        if (socket.AddressFamily != family || socket.SocketType != SocketType.Stream)
        {
            throw Invalid(uri, $"it is a {socket.SocketType} socket of the family {socket.AddressFamily}");
        }

        byte[] isListening = new byte[sizeof(int)];
        if (socket.GetRawSocketOption(SocketLevel, IsListeningOption, isListening) != sizeof(int) ||
            !isListening.AsSpan().ContainsAnyExcept((byte)0))
        {
            throw Invalid(uri, "it does not listen");
        }

        if (address is not null)
        {
            CheckTcp(socket, uri, address);
            return;
        }

        string path = Path.GetFullPath(uri.SocketPath!);
        string? bound = (socket.LocalEndPoint as UnixDomainSocketEndPoint)?.ToString();
        if (bound != path)
        {
            throw Invalid(uri, $"it listens at '{bound}'");
        }

        UnixSocketFile.CheckIsThere(path);
    }

    private static void CheckTcp(Socket socket, NbdUri uri, IPAddress address)
    {
        if (!new IPEndPoint(address, uri.Port).Equals(socket.LocalEndPoint))
        {
            throw Invalid(uri, $"it listens at {socket.LocalEndPoint}");
        }

        // The framework has closed the socket of the last process with a linger of no time, which the connections that are accepted would
        // inherit: their last replies would be lost when they are closed.
        socket.LingerState = new LingerOption(enable: false, seconds: 0);
    }

    private static BlockException Invalid(NbdUri uri, string reason, Exception? cause = null) => new(
        BlockErrors.InvalidArgument,
        $"The socket that this process was given for '{uri}' can't be used: {reason}. Start the process without it.",
        cause: cause);
}
