// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block.Files;

namespace Fleece.Hosting.Client;

/// <summary>The file of a unix socket, as the file system has it; a link is not followed.</summary>
/// <param name="IsSocket">True for a socket.</param>
/// <param name="OwnerId">The user who owns the file.</param>
/// <param name="GroupId">The group whose members may connect; null where the group may not. Connecting takes the right to write
/// (unix(7)).</param>
internal readonly record struct SocketFile(bool IsSocket, uint OwnerId, uint? GroupId)
{
    /// <summary>ENOENT of errno(3).</summary>
    public const int NoSuchFile = 2;

    /// <summary>EACCES of errno(3).</summary>
    public const int AccessDenied = 13;

    /// <summary>Looks at a path.</summary>
    /// <param name="path">The absolute path.</param>
    /// <param name="file">The file there.</param>
    /// <returns>0, or the error number of the system.</returns>
    public static int TryFind(string path, out SocketFile file)
    {
        bool isThere = PosixStat.TryLook(path, out PosixStat.FileLook look);
        file = isThere ? new SocketFile(look.IsSocket, look.UserId, look.IsGroupWritable ? look.GroupId : null) : default;
        return isThere ? 0 : Marshal.GetLastPInvokeError();
    }
}
