// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Exports;
using Fleece.Nbd.Server.Listening;

namespace Fleece.Hosting.Host;

/// <summary>The folder of the private sockets, over which bytes of disks go to the host's clients.</summary>
/// <remarks>It is the host's user's and its group's, who can list it and connect to each socket; others can do neither. The random names
/// keep sockets apart, and keep no member of the group from those of another.</remarks>
internal sealed class PrivateSockets
{
    private const UnixFileMode FolderMode =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute;

    private const UnixFileMode OwnerMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode GroupMode = OwnerMode | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;
    private const int NameBytes = 16;

    // sun_path of unix(7): 108 bytes with the NUL.
    private const int MaximumPathBytes = 107;

    private readonly string _folder;
    private readonly uint? _groupId;

    private PrivateSockets(string folder, uint? groupId)
    {
        _folder = folder;
        _groupId = groupId;
    }

    /// <summary>Makes the folder beside the control socket, or takes that of a killed host and removes its sockets. Where the paths would
    /// be too long for sockets, a new folder among the temporary ones serves.</summary>
    /// <param name="socketPath">The control socket, whose lock this host holds.</param>
    /// <param name="groupId">The host's group; null for none.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.SocketForeign"/>: the folder is another user's; or the error of the
    /// system.</exception>
    public static PrivateSockets Prepare(string socketPath, uint? groupId)
    {
        string folder = socketPath + ".private";
        try
        {
            folder = Fits(folder) ? Directory.CreateDirectory(folder).FullName : Directory.CreateTempSubdirectory("fleece-").FullName;
            CheckIsOwn(folder);
            new SocketAccess(FolderMode, groupId).ApplyTo(folder);
            PrivateSockets sockets = new(folder, groupId);
            sockets.RemoveAll();
            return sockets;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, folder, "create");
        }
    }

    /// <summary>Removes the folder; sockets that are open end with their clients' leases.</summary>
    public void Remove()
    {
        try
        {
            RemoveAll();
            Directory.Delete(_folder);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            // The next host takes it.
        }
    }

    // A link, or a folder of another user, would lead clients to that user's sockets.
    private static void CheckIsOwn(string folder)
    {
        if (new DirectoryInfo(folder).LinkTarget is not null ||
            (PosixStat.TryLook(folder, out PosixStat.FileLook look) && look.UserId != PosixStat.UserId))
        {
            throw new BlockException(
                HostErrors.SocketForeign,
                $"'{folder}' is a link, or belongs to another user, and the host keeps its clients' sockets there. Look what it is and " +
                "remove it, or choose another -SocketPath.",
                folder);
        }
    }

    private void RemoveAll()
    {
        foreach (string left in Directory.GetFiles(_folder))
        {
            if (Path.GetFileName(left) is { Length: NameBytes * 2 } name && name.All(char.IsAsciiHexDigitLower))
            {
                File.Delete(left);
            }
        }
    }

    /// <summary>Opens a socket with a name of its own.</summary>
    public PrivateExports Open() => PrivateExports.Create(
        Path.Combine(_folder, NewName()),
        _groupId is null ? OwnerMode : GroupMode,
        _groupId?.ToString(CultureInfo.InvariantCulture));

    private static bool Fits(string folder) => Encoding.UTF8.GetByteCount(Path.Combine(folder, NewName())) <= MaximumPathBytes;

    private static string NewName() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(NameBytes));
}
