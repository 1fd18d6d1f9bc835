// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The way to a control socket: which file may be one, and which process may answer there.</summary>
internal static class HostSocket
{
    /// <summary>Connects to the host that listens at a path.</summary>
    /// <remarks>The file and the process behind it must be of root, of the host's user or of this user: another user's process would get
    /// the paths and be trusted with what it answers.</remarks>
    /// <exception cref="BlockException">HostErrors.NotRunning, HostErrors.AccessRefused, HostErrors.SocketForeign, HostErrors.Overloaded;
    /// HostErrors.NotHere on other systems than Linux.</exception>
    public static async ValueTask<Socket> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(
                HostErrors.NotHere, "A Fleece host needs Linux. Here, $env:FLEECE_HOST = 'none' has this PowerShell own its disks.", path);
        }

        UnixDomainSocketEndPoint address = AddressOf(path);
        CheckFile(path);
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(address, cancellationToken).ConfigureAwait(false);
            CheckUser(path, PeerCredentials.Of(socket).UserId, "The process that listens at");
            return socket;
        }
        catch (SocketException cause)
        {
            socket.Dispose();
            throw From(cause, path);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Refuses a user who may not run a host for this one.</summary>
    internal static void CheckUser(string path, uint userId, string owned)
    {
        if (userId != 0 && userId != SystemUsers.Current && userId != SystemUsers.FindId(HostProtocol.User))
        {
            throw new BlockException(
                HostErrors.SocketForeign,
                $"{owned} '{path}' is of the user '{SystemUsers.NameOf(userId)}', and a host for this user is run by root, by " +
                $"'{HostProtocol.User}' or by this user. Nothing was sent to it. Name another socket, or have that user's file removed.",
                path,
                operation: "connect");
        }
    }

    /// <summary>No host answers at a path.</summary>
    internal static BlockException NotRunning(string path, string reason, Exception? cause = null) => new(
        HostErrors.NotRunning,
        $"No Fleece host answers at '{path}': {reason} Start it ({StartOf(path)}), or set $env:FLEECE_HOST to another socket; 'none' " +
        "has this PowerShell own its disks.",
        path,
        operation: "connect",
        cause: cause);

    // Another state directory would be another host, without the disks that are missed.
    private static string StartOf(string path) => path == HostProtocol.DefaultSocketPath
        ? "systemctl start fleece, or Start-FleeceHost"
        : $"Start-FleeceHost -SocketPath {PowerShellText.Literal(path)}, with the -StatePath that it had";

    private static UnixDomainSocketEndPoint AddressOf(string path)
    {
        if (!Path.IsPathFullyQualified(path) || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"'{path}' is no absolute path of a host's socket. Give one that begins with '/'.", path);
        }

        try
        {
            return new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException cause)
        {
            throw NotRunning(path, "the path is longer than the system allows for a socket, which is 107 bytes.", cause);
        }
    }

    private static void CheckFile(string path)
    {
        switch (SocketFile.TryFind(path, out SocketFile file))
        {
            case 0 when !file.IsSocket:
                throw NotRunning(path, "what lies there is no socket.");
            case 0:
                CheckUser(path, file.OwnerId, "The socket");
                break;
            case SocketFile.NoSuchFile:
                throw NotRunning(path, "there is no such file.");
            case SocketFile.AccessDenied:
                throw AccessRefused(path);
            case var error:
                throw NotRunning(path, $"{Marshal.GetPInvokeErrorMessage(error)}.");
        }
    }

    private static BlockException From(SocketException cause, string path) => cause.SocketErrorCode switch
    {
        SocketError.AccessDenied => AccessRefused(path, cause),
        SocketError.ConnectionRefused => NotRunning(path, "the file is left of a host that has ended.", cause),
        SocketError.WouldBlock or SocketError.TryAgain => new BlockException(
            HostErrors.Overloaded,
            $"The Fleece host at '{path}' accepts no more connections at the moment. Try again.",
            path,
            operation: "connect",
            cause: cause),
        _ => NotRunning(path, $"{cause.Message}.", cause),
    };

    private static string AdviceFor(string path)
    {
        if (SocketFile.TryFind(path, out SocketFile file) != 0)
        {
            return $"This user may not look into the folder '{Path.GetDirectoryName(path)}'; ask the owner of the host for access.";
        }

        string owner = SystemUsers.NameOf(file.OwnerId);
        return file.GroupId is { } groupId
            ? $"Have an administrator add the user to the socket's group (usermod -aG {SystemUsers.NameOfGroup(groupId)} USER), and log " +
                "in again."
            : $"The host lets no group in, so root and its user '{owner}' alone can use it. With -SocketGroup, Start-FleeceHost lets the " +
                "members of a group in.";
    }

    private static BlockException AccessRefused(string path, Exception? cause = null) => new(
        HostErrors.AccessRefused,
        $"This user may not use the Fleece host at '{path}': the system refuses access to its socket. {AdviceFor(path)}",
        path,
        operation: "connect",
        cause: cause);
}
