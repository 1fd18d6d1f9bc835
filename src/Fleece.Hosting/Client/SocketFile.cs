// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Hosting.Client;

/// <summary>The file of a unix socket, as the file system has it; a link is not followed.</summary>
/// <param name="IsSocket">True for a socket.</param>
/// <param name="OwnerId">The user who owns the file.</param>
/// <param name="GroupId">The group whose members may connect; null where the group may not.</param>
internal readonly partial record struct SocketFile(bool IsSocket, uint OwnerId, uint? GroupId)
{
    // statx(2), include/uapi/linux/stat.h and fcntl.h.
    private const int CurrentFolder = -100;
    private const int NoFollow = 0x100;
    private const uint TypeModeAndOwners = 0x1 | 0x2 | 0x8 | 0x10;
    private const int BufferBytes = 256;
    private const int OwnerOffset = 20;
    private const int GroupOffset = 24;
    private const int ModeOffset = 28;
    private const int TypeMask = 0xF000;
    private const int SocketType = 0xC000;

    // unix(7): connecting takes the right to write.
    private const int GroupWrites = 0x10;

    /// <summary>ENOENT of errno(3).</summary>
    public const int NoSuchFile = 2;

    /// <summary>EACCES of errno(3).</summary>
    public const int AccessDenied = 13;

    /// <summary>Looks at a path.</summary>
    /// <param name="path">The absolute path.</param>
    /// <param name="file">What lies there.</param>
    /// <returns>0, or the error number of the system.</returns>
    public static int TryFind(string path, out SocketFile file)
    {
        Span<byte> buffer = stackalloc byte[BufferBytes];
        if (Statx(CurrentFolder, path, NoFollow, TypeModeAndOwners, buffer) != 0)
        {
            file = default;
            return Marshal.GetLastPInvokeError();
        }

        int mode = MemoryMarshal.Read<ushort>(buffer[ModeOffset..]);
        file = new SocketFile(
            (mode & TypeMask) == SocketType,
            MemoryMarshal.Read<uint>(buffer[OwnerOffset..]),
            (mode & GroupWrites) == 0 ? null : MemoryMarshal.Read<uint>(buffer[GroupOffset..]));
        return 0;
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, Span<byte> buffer);
}
