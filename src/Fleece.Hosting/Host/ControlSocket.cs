// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Hosting.State;
using Fleece.Nbd;
using Fleece.Nbd.Server.Listening;

namespace Fleece.Hosting.Host;

/// <summary>The unix socket that a host listens at.</summary>
/// <remarks>
/// <para>A lock on a file beside it keeps two hosts from taking one path at the same moment. The file stays, and the lock ends with the
/// process.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class ControlSocket : IDisposable
{
    private const int Backlog = 512;
    private const UnixFileMode FolderMode =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute |
        UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    private readonly LocalFile _lock;
    private readonly Socket _socket;

    private ControlSocket(string path, LocalFile lockFile, Socket socket)
    {
        Path = path;
        _lock = lockFile;
        _socket = socket;
    }

    /// <summary>Its full path.</summary>
    public string Path { get; }

    /// <summary>Begins to listen. The folder is made where it is missing; a socket file that a killed host has left is replaced.</summary>
    /// <param name="path">The full path.</param>
    /// <param name="access">The permissions and the group of the file.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.AlreadyRunning"/>; <see cref="NbdErrors.AddressInUse"/>: something else than
    /// a host's socket is at the path; <see cref="BlockErrors.InvalidArgument"/>: the path is too long; or the error of the system.
    /// </exception>
    public static ControlSocket Open(string path, SocketAccess access)
    {
        UnixDomainSocketEndPoint endPoint = EndPointOf(path);
        LocalFile? lockFile = null;
        Socket? socket = null;
        try
        {
            MakeFolder(System.IO.Path.GetDirectoryName(path)!);
            lockFile = OneHostLock.Take(
                path + ".lock",
                path,
                $"A host listens at '{path}'",
                "Use that one, or give this one a socket and a state directory of its own.");
            UnixSocketFile.Clear(UriOf(path), path);
            socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Bind(endPoint);
            access.ApplyTo(path);
            socket.Listen(Backlog);
            return new ControlSocket(path, lockFile, socket);
        }
        catch (Exception e)
        {
            socket?.Dispose();
            lockFile?.Dispose();
            if (e is IOException or UnauthorizedAccessException or SocketException)
            {
                bool isRefused = e is UnauthorizedAccessException or SocketException { SocketErrorCode: SocketError.AccessDenied };
                throw new BlockException(
                    isRefused ? BlockErrors.PermissionDenied : BlockErrors.IoFailed,
                    $"The host can't listen at '{path}': {e.Message} Name a path with -SocketPath where this user may make files.",
                    path,
                    operation: "listen",
                    cause: e);
            }

            throw;
        }
    }

    /// <summary>The address of a socket as the parts of the module that know NBD take it.</summary>
    public static NbdUri UriOf(string path) => NbdUri.Parse("nbd+unix:///?socket=x").WithSocket(path);

    /// <summary>The next client's socket.</summary>
    public ValueTask<Socket> AcceptAsync() => _socket.AcceptAsync(CancellationToken.None);

    /// <summary>Stops listening and removes the file. Idempotent.</summary>
    public void Dispose()
    {
        _socket.Dispose();
        _lock.Dispose();
    }

    private static UnixDomainSocketEndPoint EndPointOf(string path)
    {
        try
        {
            return new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException e)
        {
            // sun_path of unix(7): 108 bytes with the NUL.
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The socket path '{path}' is too long for the system, which takes 107 bytes. Choose a shorter one.",
                path,
                cause: e);
        }
    }

    private static void MakeFolder(string folder)
    {
        if (!Directory.Exists(folder))
        {
            _ = OperatingSystem.IsWindows() ? Directory.CreateDirectory(folder) : Directory.CreateDirectory(folder, FolderMode);
        }
    }
}
