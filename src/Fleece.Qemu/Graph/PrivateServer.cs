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
/// QEMU has one NBD server and no command that tells where it listens. A marker node, over a file in the socket's folder, says that a
/// session began to start it and where, and the socket's file that it listens there. So no server of others is ever stopped.
/// </remarks>
internal static class PrivateServer
{
    /// <summary>The marker's part of its name; it belongs to the first disk.</summary>
    public const string MarkerPart = "server";

    private const string SocketName = "nbd";
    private const string MarkerName = "marker";
    private const string FolderPrefix = ".fleece-";

    // sockaddr_un of Linux: 108 bytes with the zero at the end.
    private const int MaximumSocketPathBytes = 107;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Starts it.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="folder">The session's folder, <see cref="FolderOf"/>.</param>
    /// <param name="user">QEMU's user.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/> where the server runs already.</exception>
    public static async ValueTask StartAsync(
        QemuMonitor monitor, Guid instantId, string folder, QemuUser user, CancellationToken cancellationToken)
    {
        string marker = MakeFolder(folder, user);
        await monitor.AddNodeAsync(
            new JsonObject
            {
                ["driver"] = "file",
                ["node-name"] = NodeNames.Of(instantId, 0, MarkerPart),
                ["filename"] = marker,
                ["read-only"] = true,
            },
            cancellationToken).ConfigureAwait(false);
        try
        {
            await monitor.StartNbdServerAsync(Path.Combine(folder, SocketName), cancellationToken).ConfigureAwait(false);
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

    /// <summary>Stops it and takes the marker and the folder away.</summary>
    public static async ValueTask StopAsync(QemuMonitor monitor, Part marker, CancellationToken cancellationToken)
    {
        string? folder = Path.GetDirectoryName(marker.FilePath);
        if (folder is not null && Path.Exists(Path.Combine(folder, SocketName)))
        {
            await monitor.StopNbdServerAsync(cancellationToken).ConfigureAwait(false);
        }

        await monitor.DeleteNodeAsync(marker.Name, cancellationToken).ConfigureAwait(false);
        RemoveFolder(folder);
    }

    /// <summary>Removes the session's folder, whose server is gone. Idempotent.</summary>
    public static void RemoveFolder(string? folder)
    {
        if (folder is null || !Path.GetFileName(folder).StartsWith(FolderPrefix, StringComparison.Ordinal))
        {
            return;
        }

        try
        {
            FileNames.Delete(Path.Combine(folder, SocketName));
            FileNames.Delete(Path.Combine(folder, MarkerName));
            Directory.Delete(folder);
        }
        catch (Exception e) when (e is BlockException || FileErrors.IsFromSystem(e))
        {
            // Removed before, or kept by the system: its name is no other session's, so it is in no other's way.
        }
    }

    /// <summary>Removes the folders of sessions that were killed before they had a node.</summary>
    public static void ClearFolders(string tempFolder)
    {
        try
        {
            foreach (string folder in Directory.GetDirectories(tempFolder, FolderPrefix + "????????"))
            {
                string session = Path.GetFileName(folder)[FolderPrefix.Length..];
                if (Directory.GetFiles(tempFolder, $"*.{session}-*{FleecingTemp.Extension}").Length == 0 &&
                    !Path.Exists(Path.Combine(folder, SocketName)))
                {
                    RemoveFolder(folder);
                }
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            // They stay for the next session.
        }
    }

    /// <summary>The address of an export.</summary>
    public static NbdUri UriOf(string folder, string exportName) => NbdUri.Parse(
        $"nbd+unix:///{exportName}?socket={Uri.EscapeDataString(Path.Combine(folder, SocketName))}");

    /// <summary>The session's folder. QEMU must reach the temp file's folder anyway; where the socket's path gets too long there, it is
    /// the system's folder for such things.</summary>
    public static string FolderOf(Guid instantId, string tempFolder) => new[] { tempFolder, Path.GetTempPath() }
        .Select(place => Path.Combine(place, FolderPrefix + NodeNames.SessionOf(instantId)))
        .FirstOrDefault(folder => Encoding.UTF8.GetByteCount(Path.Combine(folder, SocketName)) <= MaximumSocketPathBytes)
        ?? throw new BlockException(
            BlockErrors.InvalidArgument,
            $"'{Path.GetTempPath()}' is too long for the path of a socket. Set TMPDIR to a shorter one.",
            tempFolder);

    // Returns the file for the marker.
    private static string MakeFolder(string folder, QemuUser user)
    {
        string marker = Path.Combine(folder, MarkerName);
        try
        {
            if (OperatingSystem.IsWindows() || Path.Exists(folder))
            {
                throw new IOException("It exists.");
            }

            _ = Directory.CreateDirectory(folder, Private);
            File.Create(marker).Dispose();
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            RemoveFolder(folder);
            throw FileErrors.From(e, folder, "create");
        }

        user.Own(marker);
        user.Own(folder);
        return marker;
    }
}
