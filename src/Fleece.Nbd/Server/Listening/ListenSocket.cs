// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using Fleece.Block;

namespace Fleece.Nbd.Server.Listening;

/// <summary>The listening socket of a server and, for a unix socket, its file.</summary>
/// <remarks>Threading. One thread accepts; all other members are safe from any thread.</remarks>
internal sealed class ListenSocket : IDisposable
{
    private const int Backlog = 512;

    private readonly Socket _socket;
    private readonly bool _isInherited;
    private readonly AcceptWait? _wait;
    private readonly int? _sendBufferBytes;
    private int _isClosed;

    private ListenSocket(Socket socket, NbdUri uri, SocketAccess? access, bool isInherited, ListenOptions options)
    {
        _socket = socket;
        _isInherited = isInherited;
        _wait = options.CanLeave ? new AcceptWait() : null;
        _sendBufferBytes = options.SendBufferBytes;
        Uri = uri;
        Access = access;
    }

    /// <summary>Where it listens, with the port it got.</summary>
    public NbdUri Uri { get; }

    /// <summary>The permissions and the group of a unix socket's file; null for TCP.</summary>
    public SocketAccess? Access { get; }

    /// <summary>The socket.</summary>
    public SafeSocketHandle Handle => _socket.SafeHandle;

    /// <summary>Starts to listen.</summary>
    public static ListenSocket Open(NbdUri uri, ListenOptions options)
    {
        SocketAccess? access = SocketAccess.Of(uri, options.SocketMode, options.SocketGroup, options.AllowInsecure);
        try
        {
            return uri.IsUnix
                ? OpenUnix(uri, Path.GetFullPath(uri.SocketPath), access!, options)
                : OpenTcp(uri, options);
        }
        catch (SocketException e)
        {
            throw From(e, uri);
        }
    }

    /// <summary>Takes over a socket that listens already. The clients in its queue are served.</summary>
    /// <param name="handle">The socket. The listener owns it; when this call fails it is the caller's still, who closes it.</param>
    /// <param name="uri">The address that it must listen at.</param>
    /// <param name="options">A mode or a group that they name is given to the file again; else the file keeps its own.</param>
    public static ListenSocket Inherit(SafeSocketHandle handle, NbdUri uri, ListenOptions options)
    {
        Socket? socket = null;
        try
        {
            SocketAccess? access = SocketAccess.Of(uri, options.SocketMode, options.SocketGroup, options.AllowInsecure);
            IPAddress? address = uri.IsUnix ? null : Resolve(uri);
            CheckInsecure(uri, address, options);
            socket = InheritedSocket.Take(handle, uri, address);
            if (access is not null && !OperatingSystem.IsWindows())
            {
                access = Renew(access, uri, options);
            }

            ListenSocket listener = new(socket, uri, access, isInherited: true, options);
            socket = null;
            return listener;
        }
        catch (SocketException e)
        {
            throw From(e, uri);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused(Path.GetFullPath(uri.SocketPath!), e);
        }
        finally
        {
            if (socket is not null)
            {
                InheritedSocket.Drop(socket);
            }
        }
    }

    /// <summary>The next client's socket, or null when the listener is closed.</summary>
    public Socket? Accept()
    {
        while (true)
        {
            try
            {
                if (_wait?.WaitForClient(_socket.SafeHandle) == false)
                {
                    return null;
                }

                Socket socket = _socket.Accept();
                if (!Uri.IsUnix)
                {
                    socket.NoDelay = true;
                    socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
                }

                if (_sendBufferBytes is { } bytes)
                {
                    socket.SendBufferSize = bytes;
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

    /// <summary>Accepts no more, and leaves the socket and its file to the processes that have the socket too: clients connect and
    /// wait until one of them accepts. It needs <see cref="ListenOptions.CanLeave"/>.</summary>
    public void Leave()
    {
        ArgumentNullException.ThrowIfNull(_wait);
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            _wait.Dispose();
            InheritedSocket.Drop(_socket);
        }
    }

    /// <summary>Stops listening; a unix socket's file goes with it. Nothing happens after <see cref="Leave"/>.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isClosed, 1) != 0)
        {
            return;
        }

        _wait?.Dispose();
        _socket.Dispose();
        if (_isInherited && Uri.IsUnix)
        {
            // The framework removes the files of sockets that it has bound itself.
            UnixSocketFile.Remove(Path.GetFullPath(Uri.SocketPath));
        }
    }

    private static ListenSocket OpenTcp(NbdUri uri, ListenOptions options)
    {
        IPAddress address = Resolve(uri);
        CheckInsecure(uri, address, options);
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
            NbdUri bound = uri with { Port = ((IPEndPoint)socket.LocalEndPoint!).Port };
            return new ListenSocket(socket, bound, access: null, isInherited: false, options);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // No client can connect between bind and listen, so the file has its group and its permissions before its first client.
    private static ListenSocket OpenUnix(NbdUri uri, string path, SocketAccess access, ListenOptions options)
    {
        UnixDomainSocketEndPoint endPoint = UnixSocketFile.EndPointOf(uri, path);
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            UnixSocketFile.Clear(uri, path);
            socket.Bind(endPoint);
            access.ApplyTo(path);
            socket.Listen(Backlog);
            return new ListenSocket(socket, uri, access, isInherited: false, options);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            socket.Dispose();
            throw Refused(path, e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // The last process, or the maker of the socket, has given the file its mode.
    [UnsupportedOSPlatform("windows")]
    private static SocketAccess Renew(SocketAccess asked, NbdUri uri, ListenOptions options)
    {
        string path = Path.GetFullPath(uri.SocketPath!);
        if (options.SocketMode is null && options.SocketGroup is null)
        {
            SocketAccess present = new(File.GetUnixFileMode(path), null);
            present.Check(uri, options.AllowInsecure);
            return present;
        }

        asked.ApplyTo(path);
        return asked;
    }

    private static void CheckInsecure(NbdUri uri, IPAddress? address, ListenOptions options)
    {
        if (address is not null && !IPAddress.IsLoopback(address) && !uri.IsTls && !options.AllowInsecure)
        {
            throw new BlockException(
                NbdErrors.InsecureListener,
                $"'{uri}' would offer the disk to everybody who can reach this machine, unencrypted. Use nbds with -TlsCertificate, " +
                "listen on localhost, or accept that with -AllowInsecure.");
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
            NbdErrors.AddressInUse, $"'{uri}' is in use by another program. Choose another {(uri.IsUnix ? "path" : "port")}.", cause: e),
        SocketError.AccessDenied => new BlockException(
            BlockErrors.PermissionDenied, $"The system does not allow to listen at '{uri}': {e.Message}", cause: e),
        SocketError.HostNotFound or SocketError.AddressNotAvailable or SocketError.TryAgain or SocketError.NoData =>
            new BlockException(
                NbdErrors.UriInvalid, $"'{uri}' is no address of this machine: {e.Message}. Use one that it has.", cause: e),
        _ => new BlockException(BlockErrors.IoFailed, $"Cannot listen at '{uri}': {e.Message}.", cause: e),
    };

    private static BlockException Refused(string path, Exception e) =>
        new(BlockErrors.PermissionDenied, $"Cannot listen at '{path}': {e.Message}", path, cause: e);
}
