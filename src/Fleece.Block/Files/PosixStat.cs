// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>What a name of Linux or macOS leads to: the kind of the file, its identity, and its storage.</summary>
internal static unsafe class PosixStat
{
    // statx(2): the struct is the same on every architecture, while struct stat is not. AT_FDCWD; STATX_TYPE, STATX_MODE, STATX_NLINK,
    // STATX_UID, STATX_GID, STATX_INO, STATX_BLOCKS and STATX_BTIME; then where the fields lie.
    private const int StatBufferBytes = 256;
    private const int CurrentFolder = -100;
    private const uint StatxBirth = 0x800;
    private const uint StatxMask = 0x001 | 0x002 | 0x004 | 0x008 | 0x010 | 0x100 | 0x400 | StatxBirth;
    private const int StatxNameCountOffset = 16;
    private const int StatxUserOffset = 20;
    private const int StatxGroupOffset = 24;
    private const int StatxModeOffset = 28;
    private const int StatxInodeOffset = 32;
    private const int StatxBlocksOffset = 48;
    private const int StatxBirthOffset = 80;
    private const int StatxDeviceOffset = 136;

    // statx(2): AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_STATX_DONT_SYNC (no question goes to a server).
    private const int StatxNoFollow = 0x100;
    private const int StatxEmptyPath = 0x1000;
    private const int StatxDontSync = 0x4000;

    // stat(2) of macOS, struct stat with 64-bit inodes: where st_mode, st_ino, st_birthtimespec and st_blocks lie.
    private const int MacStatModeOffset = 4;
    private const int MacStatInodeOffset = 8;
    private const int MacStatBirthOffset = 80;
    private const int MacStatBlocksOffset = 104;

    private const ulong NanosecondsPerSecond = 1_000_000_000;

    // inode(7): S_IFMT, S_IFREG, S_IFSOCK, and the unit of st_blocks, which has nothing to do with the file system's block size.
    private const int FileTypeMask = 0xF000;
    private const int RegularFileType = 0x8000;
    private const int SocketType = 0xC000;
    private const int StatBlockBytes = 512;

    /// <summary>The user on whose behalf this process opens files. Linux only.</summary>
    public static uint UserId => LibC.GetUserId();

    /// <summary>
    /// True when something stands at the path and it is no regular file. It looks without opening, because opening a
    /// fifo waits for its other end and opening a device can have effects.
    /// </summary>
    public static bool IsSpecialFile(string path) =>
        TryStat(path, out int mode, out _, out _, out _) && (mode & FileTypeMask) != RegularFileType;

    /// <summary>Bytes of storage that the file takes; less than its size when it has holes.</summary>
    public static bool TryGetAllocatedBytes(string path, out long allocatedBytes)
    {
        bool isDone = TryStat(path, out _, out long blockCount, out _, out _);
        allocatedBytes = blockCount * StatBlockBytes;
        return isDone;
    }

    /// <summary>The number that the file keeps as long as it exists, whatever it is called, and that a later file may get; and when it was
    /// made, in nanoseconds. 0 where the system can't tell.</summary>
    public static (ulong Inode, ulong BirthNanoseconds) GetOrigin(string path) =>
        TryStat(path, out _, out _, out ulong inode, out ulong birth) ? (inode, birth) : default;

    /// <summary>Looks at what a path names, without following a link. Linux only. The errno of a failure is the last one of the thread's
    /// native calls.</summary>
    public static bool TryLook(string path, out FileLook look) => TryLook(CurrentFolder, path, StatxNoFollow, out look);

    /// <summary>Looks at an open file. Linux only.</summary>
    public static bool TryLook(SafeFileHandle handle, out FileLook look) =>
        TryLook((int)handle.DangerousGetHandle(), string.Empty, StatxEmptyPath, out look);

    /// <summary>Looks at the file that a path leads to, without asking a server. False elsewhere than on Linux.</summary>
    public static bool TryLookHere(string path, out FileLook look)
    {
        look = default;
        return OperatingSystem.IsLinux() && TryLook(CurrentFolder, path, StatxDontSync, out look);
    }

    private static bool TryLook(int folder, string path, int flags, out FileLook look)
    {
        byte* buffer = stackalloc byte[StatBufferBytes];
        bool isDone = LibC.Statx(folder, path, flags, StatxMask, buffer) == 0;
        look = isDone
            ? new FileLook(
                *(ulong*)(buffer + StatxDeviceOffset),
                *(ulong*)(buffer + StatxInodeOffset),
                *(ushort*)(buffer + StatxModeOffset),
                *(uint*)(buffer + StatxNameCountOffset),
                *(uint*)(buffer + StatxUserOffset),
                *(uint*)(buffer + StatxGroupOffset))
            : default;
        return isDone;
    }

    // seconds (8 bytes) and nanoseconds, both in statx(2) and in stat(2) of macOS.
    private static ulong ReadTime(byte* place) => (unchecked((ulong)*(long*)place) * NanosecondsPerSecond) + *(uint*)(place + sizeof(long));

    private static bool TryStat(string path, out int mode, out long blockCount, out ulong inode, out ulong birthNanoseconds)
    {
        byte* buffer = stackalloc byte[StatBufferBytes];
        if (OperatingSystem.IsLinux())
        {
            bool isDone = LibC.Statx(CurrentFolder, path, 0, StatxMask, buffer) == 0;
            mode = *(ushort*)(buffer + StatxModeOffset);
            blockCount = *(long*)(buffer + StatxBlocksOffset);
            inode = *(ulong*)(buffer + StatxInodeOffset);
            birthNanoseconds = (*(uint*)buffer & StatxBirth) != 0 ? ReadTime(buffer + StatxBirthOffset) : 0;
            return isDone;
        }

        if (OperatingSystem.IsMacOS())
        {
            bool isDone = RuntimeInformation.ProcessArchitecture == Architecture.X64
                ? LibC.StatInode64(path, buffer) == 0
                : LibC.Stat(path, buffer) == 0;
            mode = *(ushort*)(buffer + MacStatModeOffset);
            blockCount = *(long*)(buffer + MacStatBlocksOffset);
            inode = *(ulong*)(buffer + MacStatInodeOffset);
            birthNanoseconds = ReadTime(buffer + MacStatBirthOffset);
            return isDone;
        }

        mode = 0;
        blockCount = 0;
        inode = 0;
        birthNanoseconds = 0;
        return false;
    }

    /// <summary>A file as the file system has it: which one it is, of what kind, and whose.</summary>
    /// <param name="Device">The device that it lies on.</param>
    /// <param name="Inode">Its number there.</param>
    /// <param name="Mode">Its type and its permissions, inode(7).</param>
    /// <param name="NameCount">How many names lead to it.</param>
    /// <param name="UserId">The user who owns it.</param>
    /// <param name="GroupId">Its group.</param>
    public readonly record struct FileLook(ulong Device, ulong Inode, int Mode, uint NameCount, uint UserId, uint GroupId)
    {
        /// <summary>True for a regular file.</summary>
        public bool IsRegular => (Mode & FileTypeMask) == RegularFileType;

        /// <summary>True for a unix socket's file.</summary>
        public bool IsSocket => (Mode & FileTypeMask) == SocketType;

        /// <summary>True when the members of its group may write to it.</summary>
        public bool IsGroupWritable => ((UnixFileMode)Mode).HasFlag(UnixFileMode.GroupWrite);

        /// <summary>True when both are one file, as stat(2) tells files apart.</summary>
        public bool IsSameFile(FileLook other) => (Device, Inode) == (other.Device, other.Inode);
    }
}
