// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Fleece.Block;

namespace Fleece.Nbd.Server;

/// <summary>The listening socket of a server and, for a unix socket, its file.</summary>
internal sealed class ListenSocket : IDisposable
{
    private const int Backlog = 512;

    // What systems answer to opening a socket as a file: ENXIO (Linux), EOPNOTSUPP (macOS), ERROR_CANT_ACCESS_FILE (Windows).
    private static readonly int[] SocketsAreNotOpened = [6, 102, unchecked((int)0x80070780)];

    private readonly Socket _socket;

    private ListenSocket(Socket socket, NbdUri uri)
    {
        _socket = socket;
        Uri = uri;
    }

    /// <summary>Where it listens, with the port it got.</summary>
    public NbdUri Uri { get; }

    public static ListenSocket Open(NbdUri uri, bool allowInsecure)
    {
        try
        {
            return uri.IsUnix ? OpenUnix(uri, Path.GetFullPath(uri.SocketPath)) : OpenTcp(uri, allowInsecure);
        }
        catch (SocketException e)
        {
            throw From(e, uri);
        }
    }

    /// <summary>The next client's socket, or null when the listener is closed.</summary>
    public Socket? Accept()
    {
        while (true)
        {
            try
            {
                Socket socket = _socket.Accept();
                if (!Uri.IsUnix)
                {
                    socket.NoDelay = true;
                    socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
                }

                return socket;
            }
            catch (SocketException e) when (e.SocketErrorCode is not (SocketError.OperationAborted or SocketError.Interrupted))
            {
                // A client that left again before it was accepted, or no descriptors left: neither ends the listener.
                Thread.Sleep(10);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return null;
            }
        }
    }

    /// <summary>Stops listening; a unix socket's file goes with it.</summary>
    public void Dispose() => _socket.Dispose();

    private static ListenSocket OpenTcp(NbdUri uri, bool allowInsecure)
    {
        IPAddress address = Resolve(uri);
        if (!IPAddress.IsLoopback(address) && !uri.IsTls && !allowInsecure)
        {
            throw new BlockException(
                NbdErrors.InsecureListener,
                $"'{uri}' would offer the disk to everybody who can reach this machine, unencrypted. Use nbds with -TlsCertificate, " +
                "listen on localhost, or accept that with -AllowInsecure.");
        }

        Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (address.Equals(IPAddress.IPv6Any))
            {
                // All addresses, as the URI says, on systems too that keep the two families apart unless asked.
                socket.DualMode = true;
            }

            // No ReuseAddress: on Unix it lets a second listener share the port, and then each takes some of the other's
            // clients. Connections of an earlier listener that linger are no obstacle, for binding allows for those by itself.
            socket.Bind(new IPEndPoint(address, uri.Port));
            socket.Listen(Backlog);
            return new ListenSocket(socket, uri with { Port = ((IPEndPoint)socket.LocalEndPoint!).Port });
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // Nobody can connect between bind and listen, so the file has its permissions before anybody can use it.
    private static ListenSocket OpenUnix(NbdUri uri, string path)
    {
        RemoveStale(uri, path);
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(EndPointOf(uri, path));
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            socket.Listen(Backlog);
            return new ListenSocket(socket, uri);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            socket.Dispose();
            throw new BlockException(BlockErrors.PermissionDenied, $"Cannot listen at '{path}': {e.Message}", path, cause: e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // What a killed server left behind answers nobody. Anything else at the path stays as it is.
    private static void RemoveStale(NbdUri uri, string path)
    {
        if (!File.Exists(path))
        {
            return;
        }

        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(EndPointOf(uri, path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused && IsSocket(path))
        {
            File.Delete(path);
            return;
        }
        catch (SocketException)
        {
            // Not ours to remove.
        }

        throw new BlockException(
            NbdErrors.AddressInUse,
            $"'{path}' is in use: another server listens there, or it is no socket. Choose another path.",
            path);
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

    private static UnixDomainSocketEndPoint EndPointOf(NbdUri uri, string path)
    {
        try
        {
            return new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException e)
        {
            throw new BlockException(
                NbdErrors.UriInvalid, $"The socket path of '{uri}' is too long for the system. Choose a shorter one.", path, cause: e);
        }
    }

    private static IPAddress Resolve(NbdUri uri)
    {
        switch (uri.Host)
        {
            case "" or "localhost":
                return IPAddress.Loopback;
            default:
                return IPAddress.TryParse(uri.Host, out IPAddress? address) ? address : Dns.GetHostAddresses(uri.Host)[0];
        }
    }

    private static BlockException From(SocketException e, NbdUri uri) => e.SocketErrorCode switch
    {
        SocketError.AddressAlreadyInUse => new BlockException(
            NbdErrors.AddressInUse, $"'{uri}' is in use by another program. Choose another port.", cause: e),
        SocketError.AccessDenied => new BlockException(
            BlockErrors.PermissionDenied, $"The system does not allow to listen at '{uri}': {e.Message}", cause: e),
        SocketError.HostNotFound or SocketError.AddressNotAvailable or SocketError.TryAgain or SocketError.NoData =>
            new BlockException(
                NbdErrors.UriInvalid, $"'{uri}' is no address of this machine: {e.Message}. Use one that it has.", cause: e),
        _ => new BlockException(BlockErrors.IoFailed, $"Cannot listen at '{uri}': {e.Message}.", cause: e),
    };
}
