// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Nbd;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>QEMU's NBD server at a socket that QEMU's user alone can reach, for all sessions of its guest.</summary>
/// <remarks>
/// <para>QEMU has one NBD server and no command that tells where it listens. Each session has a marker node, over a file in the socket's
/// folder; QEMU removes the socket's file when the server ends. So a marker whose folder has a socket tells where a server of Fleece's
/// listens, and no server of others is ever stopped.</para>
/// <para>The first session makes the folder and starts the server, later ones add their markers, and the last to leave stops the server and
/// removes the folder. QEMU serves one client of a monitor at a time, and a session begins and ends over one connection each, so no other
/// process comes between the look and the deed. A QEMU with several monitors lets one: a session that begins then fails, and is
/// undone.</para>
/// </remarks>
internal static class PrivateServer
{
    private const string SocketName = "nbd";
    private const string FolderPrefix = ".fleece-";

    // sockaddr_un of Linux: 108 bytes with the zero at the end.
    private const int MaximumSocketPathBytes = 107;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>The folder of the server that sessions of this guest have, or of the one to start.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="tempFolder">Where QEMU reaches the session's temp file.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.PermissionDenied"/> where this user can't see into the folder of such a
    /// session.</exception>
    public static async ValueTask<string> FindFolderAsync(
        QemuMonitor monitor, Guid instantId, string tempFolder, CancellationToken cancellationToken)
    {
        foreach (Part marker in await MarkersAsync(monitor, cancellationToken).ConfigureAwait(false))
        {
            if (HasSocket(marker, out string folder))
            {
                return folder;
            }
        }

        return FolderOf(instantId, tempFolder);
    }

    /// <summary>Adds the session's marker, and starts the server where it does not run.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="folder">The folder, <see cref="FindFolderAsync"/>.</param>
    /// <param name="user">QEMU's user.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/> where the server runs already for others.</exception>
    public static async ValueTask JoinAsync(
        QemuMonitor monitor, Guid instantId, string folder, QemuUser user, CancellationToken cancellationToken)
    {
        string session = NodeNames.SessionOf(instantId);
        bool isShared = Path.GetFileName(folder) != FolderPrefix + session;
        string marker = MakeMarker(folder, session, isShared, user);
        await monitor.AddNodeAsync(
            new JsonObject
            {
                ["driver"] = "file",
                ["node-name"] = NodeNames.Of(instantId, 0, Parts.Server),
                ["filename"] = marker,
                ["read-only"] = true,
            },
            cancellationToken).ConfigureAwait(false);
        if (isShared)
        {
            return;
        }

        try
        {
            await monitor.StartNbdServerAsync(Path.Combine(folder, SocketName), cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (QmpRefusal.Says(e, "already running"))
        {
            throw new BlockException(
                BlockErrors.InUse,
                $"The NBD server of the QEMU at '{monitor.SocketPath}' serves exports of others, and a QEMU has only one. Name the " +
                "address that it listens at with -NbdServerUri, so that the snapshot is served beside them, or end it with QMP's " +
                "nbd-server-stop.",
                monitor.SocketPath,
                cause: e);
        }
    }

    /// <summary>Takes a session's marker away, and the server and the folder with the last one.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.PermissionDenied"/> where this user can't see into the folder, so that it is
    /// not known whose server runs.</exception>
    public static async ValueTask LeaveAsync(QemuMonitor monitor, Part marker, CancellationToken cancellationToken)
    {
        bool hasSocket = HasSocket(marker, out string folder);
        bool isLast = !(await MarkersAsync(monitor, cancellationToken).ConfigureAwait(false))
            .Any(other => other.Name != marker.Name && Path.GetDirectoryName(other.FilePath) == folder);
        if (hasSocket && isLast)
        {
            await monitor.StopNbdServerAsync(cancellationToken).ConfigureAwait(false);
        }

        await monitor.DeleteNodeAsync(marker.Name, cancellationToken).ConfigureAwait(false);
        LeaveFolder(folder, marker.Session);
    }

    /// <summary>Removes the session's file from a folder, and the folder where no server listens in it any more. Idempotent.</summary>
    public static void LeaveFolder(string? folder, string session)
    {
        if (folder is null || !Path.GetFileName(folder).StartsWith(FolderPrefix, StringComparison.Ordinal))
        {
            return;
        }

        try
        {
            FileNames.Delete(Path.Combine(folder, session + Parts.MarkerExtension));
            if (Listens(folder))
            {
                return;
            }

            FileNames.Delete(Path.Combine(folder, SocketName));
            foreach (string left in Directory.GetFiles(folder, "*" + Parts.MarkerExtension))
            {
                FileNames.Delete(left);
            }

            Directory.Delete(folder);
        }
        catch (Exception e) when (e is BlockException || FileErrors.IsFromSystem(e))
        {
            // Removed before, or kept by the system: its name is no other session's, so it is in no other's way.
        }
    }

    /// <summary>Removes the folders of sessions that were killed before they had a node, or with their QEMU.</summary>
    public static void ClearFolders(string tempFolder)
    {
        try
        {
            foreach (string folder in Directory.GetDirectories(tempFolder, FolderPrefix + "????????"))
            {
                string session = Path.GetFileName(folder)[FolderPrefix.Length..];
                if (Directory.GetFiles(tempFolder, $"*.{session}-*{FleecingTemp.Extension}").Length == 0 && !Listens(folder))
                {
                    LeaveFolder(folder, session);
                }
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            // They stay for the next session.
        }
    }

    /// <summary>The address of the server in a folder.</summary>
    public static NbdUri UriOf(string folder) =>
        NbdUri.Parse($"nbd+unix:///?socket={Uri.EscapeDataString(Path.Combine(folder, SocketName))}");

    // QEMU must reach the temp file's folder anyway; where the socket's path gets too long there, it is the system's folder for such
    // things.
    private static string FolderOf(Guid instantId, string tempFolder) => new[] { tempFolder, Path.GetTempPath() }
        .Select(place => Path.Combine(place, FolderPrefix + NodeNames.SessionOf(instantId)))
        .FirstOrDefault(folder => Encoding.UTF8.GetByteCount(Path.Combine(folder, SocketName)) <= MaximumSocketPathBytes)
        ?? throw new BlockException(
            BlockErrors.InvalidArgument,
            $"'{Path.GetTempPath()}' is too long for the path of a socket. Set TMPDIR to a shorter one.",
            tempFolder);

    private static async ValueTask<IReadOnlyList<Part>> MarkersAsync(QemuMonitor monitor, CancellationToken cancellationToken) =>
    [
        .. (await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
            .Select(Part.Of).OfType<Part>()
            .Where(part => part.Kind == Parts.Server && Path.IsPathRooted(part.FilePath)),
    ];

    // Without a look into the folder Fleece's own server would count as one of others.
    private static bool HasSocket(Part marker, out string folder)
    {
        folder = Path.GetDirectoryName(marker.FilePath) ?? string.Empty;
        try
        {
            _ = File.GetAttributes(Path.Combine(folder, SocketName));
            return true;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw new BlockException(
                BlockErrors.PermissionDenied,
                $"The session {marker.Session} of this guest has its NBD server in '{folder}', which this user can't enter. Run this as " +
                "the user that QEMU runs as, or as root.",
                folder,
                cause: e);
        }
    }

    // A QEMU that was killed leaves its socket's file, at which nothing listens.
    private static bool Listens(string folder)
    {
        string path = Path.Combine(folder, SocketName);
        if (!Path.Exists(path))
        {
            return false;
        }

        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode != SocketError.ConnectionRefused;
        }
    }

    // Returns the file for the marker.
    private static string MakeMarker(string folder, string session, bool isShared, QemuUser user)
    {
        string marker = Path.Combine(folder, session + Parts.MarkerExtension);
        try
        {
            if (!isShared)
            {
                if (OperatingSystem.IsWindows() || Path.Exists(folder))
                {
                    throw new IOException("It exists.");
                }

                _ = Directory.CreateDirectory(folder, Private);
            }

            File.Create(marker).Dispose();
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            LeaveFolder(folder, session);
            throw FileErrors.From(e, folder, isShared ? "write in" : "create");
        }

        user.Own(marker);
        if (!isShared)
        {
            user.Own(folder);
        }

        return marker;
    }
}
