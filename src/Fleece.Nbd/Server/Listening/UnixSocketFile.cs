// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;

namespace Fleece.Nbd.Server.Listening;

/// <summary>The file of a unix socket: what may lie at its path before a server listens there, and what may not.</summary>
internal static class UnixSocketFile
{
    // The answers of systems to opening a socket as a file: ENXIO (Linux), EOPNOTSUPP (macOS), ERROR_CANT_ACCESS_FILE (Windows).
    private static readonly int[] SocketsAreNotOpened = [6, 102, unchecked((int)0x80070780)];

    /// <summary>The path as an end point.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.UriInvalid"/> when it is too long for the system.</exception>
    public static UnixDomainSocketEndPoint EndPointOf(NbdUri uri, string path)
    {
        try
        {
            return new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException e)
        {
            // sun_path of unix(7): 108 bytes on Linux, 104 on macOS.
            throw new BlockException(
                NbdErrors.UriInvalid,
                $"The socket path of '{uri}' is too long for the system, which takes some 100 bytes. Choose a shorter one.",
                path,
                cause: e);
        }
    }

    /// <summary>Makes the path free: a socket that a killed server has left is removed, anything else is refused and stays.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.UriInvalid"/> when the folder is missing, or
    /// <see cref="NbdErrors.AddressInUse"/>.</exception>
    public static void Clear(NbdUri uri, string path)
    {
        if (Path.GetDirectoryName(path) is { } folder && !Directory.Exists(folder))
        {
            throw new BlockException(
                NbdErrors.UriInvalid,
                $"The folder '{folder}' of the socket of '{uri}' does not exist. Create it, or choose another path.",
                path);
        }

        if (Directory.Exists(path))
        {
            throw InUse(path, "it is a folder");
        }

        if (!File.Exists(path))
        {
            return;
        }

        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // A server whose queue is full would keep this client waiting too. Windows answers "would block" in any case.
            probe.Blocking = OperatingSystem.IsWindows();
            probe.Connect(EndPointOf(uri, path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused && IsSocket(path))
        {
            File.Delete(path);
            return;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AccessDenied)
        {
            throw InUse(path, "it belongs to another user, who does not let this one connect");
        }
        catch (SocketException e) when (e.SocketErrorCode != SocketError.WouldBlock)
        {
            throw InUse(path, "it is no socket");
        }
        catch (SocketException)
        {
            // A server that is busy.
        }

        throw InUse(path, "another server listens there");
    }

    /// <summary>Makes sure that clients can find a socket that listens at the path.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/> or <see cref="NbdErrors.AddressInUse"/>.</exception>
    public static void CheckIsThere(string path)
    {
        if (!Path.Exists(path))
        {
            throw new BlockException(
                BlockErrors.NotFound, $"A socket listens at '{path}', and its file is gone, so that no client can reach it.", path);
        }

        if (!IsSocket(path))
        {
            throw InUse(path, "it is no socket");
        }
    }

    /// <summary>Removes a socket's file; one that the system keeps answers nobody.</summary>
    public static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next server finds it stale.
        }
    }

    // The system opens files and refuses to open sockets. Any other failure says nothing, a file that somebody has locked
    // for one. For reading and writing, because a pipe without a writer would keep a reader waiting.
    private static bool IsSocket(string path)
    {
        try
        {
            File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete).Dispose();
            return false;
        }
        catch (IOException e)
        {
            return SocketsAreNotOpened.Contains(e.HResult);
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static BlockException InUse(string path, string reason) =>
        new(NbdErrors.AddressInUse, $"'{path}' is in use: {reason}. Choose another path.", path);
}
