// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Nbd;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>QEMU's NBD server at a socket that QEMU's user alone can reach.</summary>
/// <remarks>
/// QEMU has one NBD server and no command that tells where it listens. A marker node says that a session began to start it, and the
/// socket's file that it listens there. So no server of others is ever stopped.
/// </remarks>
internal static class PrivateServer
{
    /// <summary>The marker's part of its name; it belongs to the first disk.</summary>
    public const string MarkerPart = "server";

    private const string SocketName = "nbd";
    private const string FolderPrefix = ".fleece-";

    // sockaddr_un of Linux: 108 bytes with the zero at the end.
    private const int MaximumSocketPathBytes = 107;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Starts it.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/> where the server runs already.</exception>
    public static async ValueTask StartAsync(
        QemuMonitor monitor, Guid instantId, string tempFolder, QemuUser user, CancellationToken cancellationToken)
    {
        string socketPath = SocketPathOf(NodeNames.SessionOf(instantId), tempFolder);
        MakeFolder(Path.GetDirectoryName(socketPath)!, user);
        await monitor.AddNodeAsync(Marker(NodeNames.Of(instantId, 0, MarkerPart)), cancellationToken).ConfigureAwait(false);
        try
        {
            await monitor.StartNbdServerAsync(socketPath, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e)
            when (e.Kind == QemuErrors.CommandRefused && e.Message.Contains("already running", StringComparison.OrdinalIgnoreCase))
        {
            throw new BlockException(
                BlockErrors.InUse,
                $"The NBD server of the QEMU at '{monitor.SocketPath}' is in use, and a QEMU has only one: by another session of this " +
                "guest, or by exports of others. Stop that session, or end the server with QMP's nbd-server-stop.",
                monitor.SocketPath,
                cause: e);
        }
    }

    /// <summary>Stops it and takes the marker and the folder away. Idempotent.</summary>
    public static async ValueTask StopAsync(
        QemuMonitor monitor, string markerName, string session, string? tempFolder, CancellationToken cancellationToken)
    {
        if (Folders(session, tempFolder).Any(folder => Path.Exists(Path.Combine(folder, SocketName))))
        {
            await monitor.StopNbdServerAsync(cancellationToken).ConfigureAwait(false);
        }

        await monitor.DeleteNodeAsync(markerName, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Removes the session's folder. Idempotent.</summary>
    public static void RemoveFolder(string session, string? tempFolder)
    {
        foreach (string folder in Folders(session, tempFolder))
        {
            try
            {
                FileNames.Delete(Path.Combine(folder, SocketName));
                Directory.Delete(folder);
            }
            catch (DirectoryNotFoundException)
            {
                // The other place, or removed before.
            }
            catch (Exception e) when (e is BlockException || FileErrors.IsFromSystem(e))
            {
                // An empty folder with a name that no session gets again is in nobody's way.
            }
        }
    }

    /// <summary>Removes the empty folders of sessions that were killed before they had a node.</summary>
    public static void ClearFolders(string tempFolder)
    {
        try
        {
            foreach (string folder in Directory.GetDirectories(tempFolder, FolderPrefix + "????????"))
            {
                string session = Path.GetFileName(folder)[FolderPrefix.Length..];
                if (Directory.GetFiles(tempFolder, $"*.{session}-*{FleecingTemp.Extension}").Length == 0 &&
                    !Directory.EnumerateFileSystemEntries(folder).Any())
                {
                    Directory.Delete(folder);
                }
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            // They stay for the next session.
        }
    }

    /// <summary>The address of an export.</summary>
    public static NbdUri UriOf(string session, string tempFolder, string exportName) => NbdUri.Parse(
        $"nbd+unix:///{exportName}?socket={Uri.EscapeDataString(SocketPathOf(session, tempFolder))}");

    /// <summary>A node that only has a name.</summary>
    public static JsonObject Marker(string name) => new() { ["driver"] = "null-co", ["node-name"] = name };

    private static void MakeFolder(string folder, QemuUser user)
    {
        try
        {
            if (OperatingSystem.IsWindows() || Path.Exists(folder))
            {
                throw new IOException("It exists.");
            }

            _ = Directory.CreateDirectory(folder, Private);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, folder, "create");
        }

        user.Own(folder);
    }

    // QEMU must reach the temp file's folder anyway. A path that is too long for a socket goes to the system's folder.
    private static string SocketPathOf(string session, string tempFolder) => Folders(session, tempFolder)
        .Select(folder => Path.Combine(folder, SocketName))
        .FirstOrDefault(path => Encoding.UTF8.GetByteCount(path) <= MaximumSocketPathBytes)
        ?? throw new BlockException(
            BlockErrors.InvalidArgument,
            $"'{Path.GetTempPath()}' is too long for the path of a socket. Set TMPDIR to a shorter one.",
            tempFolder);

    private static IEnumerable<string> Folders(string session, string? tempFolder) =>
        new[] { tempFolder, Path.GetTempPath() }.OfType<string>().Select(folder => Path.Combine(folder, FolderPrefix + session));
}
