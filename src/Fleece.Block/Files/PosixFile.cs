// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>The calls of Linux and macOS that the framework does not wrap.</summary>
/// <remarks>
/// Offsets are 64 bits wide only where off_t is, so a 32-bit process on Linux makes none of these calls and gets the
/// answer "not supported", for which every caller has a fallback.
/// </remarks>
internal static unsafe partial class PosixFile
{
    // errno(3), include/uapi/asm-generic/errno-base.h and errno.h; the first two are the same on macOS.
    private const int InterruptedErrno = 4;
    private const int NoSuchDataErrno = 6;
    private const int LinuxNoSystemCallErrno = 38;
    private const int LinuxNotSupportedErrno = 95;

    // fallocate(2), include/uapi/linux/falloc.h: FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE.
    private const int KeepSize = 0x01;
    private const int PunchHole = 0x02;
    private const int ZeroRangeMode = 0x10;

    // posix_fadvise(2), include/uapi/linux/fadvise.h: POSIX_FADV_WILLNEED.
    private const int WillNeed = 3;

    // statx(2): the struct is the same on every architecture, while struct stat is not. AT_FDCWD, STATX_TYPE, STATX_INO and
    // STATX_BLOCKS, then where stx_mode, stx_ino and stx_blocks lie.
    private const int StatBufferBytes = 256;
    private const int CurrentFolder = -100;
    private const uint StatxMask = 0x001 | 0x100 | 0x400;
    private const int StatxModeOffset = 28;
    private const int StatxInodeOffset = 32;
    private const int StatxBlocksOffset = 48;

    // stat(2) of macOS, struct stat with 64-bit inodes: where st_mode, st_ino and st_blocks lie.
    private const int MacStatModeOffset = 4;
    private const int MacStatInodeOffset = 8;
    private const int MacStatBlocksOffset = 104;

    // inode(7): S_IFMT, S_IFREG, and the unit of st_blocks, which has nothing to do with the file system's block size.
    private const int FileTypeMask = 0xF000;
    private const int RegularFileType = 0x8000;
    private const int StatBlockBytes = 512;

    // lseek(2): SEEK_DATA and SEEK_HOLE; macOS numbers the two the other way round.
    private static readonly int SeekData = OperatingSystem.IsMacOS() ? 4 : 3;
    private static readonly int SeekHole = OperatingSystem.IsMacOS() ? 3 : 4;

    /// <summary>True when this process can punch holes; each file system may still refuse.</summary>
    public static bool HasPunchHole => OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>True when this process can ask where a file's holes are.</summary>
    public static bool HasSeekHole =>
        (OperatingSystem.IsLinux() || OperatingSystem.IsMacOS()) && Environment.Is64BitProcess;

    /// <summary>True when this process can have a file read into the cache without waiting for it.</summary>
    public static bool HasReadAhead => OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>
    /// True when something stands at the path and it is no regular file. It looks without opening, because opening a
    /// fifo waits for its other end and opening a device can have effects.
    /// </summary>
    public static bool IsSpecialFile(string path) =>
        TryStat(path, out int mode, out _, out _) && (mode & FileTypeMask) != RegularFileType;

    /// <summary>Bytes of storage that the file takes; less than its size when it has holes.</summary>
    public static bool TryGetAllocatedBytes(string path, out long allocatedBytes)
    {
        bool isDone = TryStat(path, out _, out long blockCount, out _);
        allocatedBytes = blockCount * StatBlockBytes;
        return isDone;
    }

    /// <summary>The number that the file keeps as long as it exists, whatever it is called; 0 where the system can't tell.</summary>
    public static ulong GetInode(string path) => TryStat(path, out _, out _, out ulong inode) ? inode : 0;

    /// <summary>Begins to read the range into the cache. What the system says to it changes nothing for anybody.</summary>
    public static void ReadAhead(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        _ = Advise(handle, offsetBytes, lengthBytes, WillNeed);

    /// <summary>Frees the range and keeps the file's size; its bytes read as zeros, partial blocks too.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FreeRange(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        Allocate(handle, PunchHole | KeepSize, offsetBytes, lengthBytes);

    /// <summary>Zeroes the range and keeps the file's size; the file system may keep storage for it.</summary>
    /// <returns>0, or the errno.</returns>
    public static int ZeroRange(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        Allocate(handle, ZeroRangeMode | KeepSize, offsetBytes, lengthBytes);

    /// <summary>True when the errno says that this file system or kernel has no such call.</summary>
    public static bool IsNotSupported(int errno) =>
        errno is LinuxNotSupportedErrno or LinuxNoSystemCallErrno;

    /// <summary>Finds the first byte of data at or behind an offset; -1 when only hole follows.</summary>
    /// <returns>False when the file system can't tell.</returns>
    public static bool TryFindData(SafeFileHandle handle, long offsetBytes, out long dataBytes) =>
        TrySeek(handle, offsetBytes, SeekData, out dataBytes);

    /// <summary>Finds the first byte of a hole at or behind an offset; the end of the file counts as one.</summary>
    /// <returns>False when the file system can't tell.</returns>
    public static bool TryFindHole(SafeFileHandle handle, long offsetBytes, out long holeBytes) =>
        TrySeek(handle, offsetBytes, SeekHole, out holeBytes);

    private static bool TrySeek(SafeFileHandle handle, long offsetBytes, int whence, out long foundBytes)
    {
        while (true)
        {
            foundBytes = Seek(handle, offsetBytes, whence);
            if (foundBytes >= 0)
            {
                return true;
            }

            switch (Marshal.GetLastPInvokeError())
            {
                case InterruptedErrno:
                    continue;
                case NoSuchDataErrno:
                    return true;
                default:
                    return false;
            }
        }
    }

    private static int Allocate(SafeFileHandle handle, int mode, long offsetBytes, long lengthBytes)
    {
        while (Fallocate(handle, mode, offsetBytes, lengthBytes) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno != InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }

    private static bool TryStat(string path, out int mode, out long blockCount, out ulong inode)
    {
        byte* buffer = stackalloc byte[StatBufferBytes];
        if (OperatingSystem.IsLinux())
        {
            bool isDone = Statx(CurrentFolder, path, 0, StatxMask, buffer) == 0;
            mode = *(ushort*)(buffer + StatxModeOffset);
            blockCount = *(long*)(buffer + StatxBlocksOffset);
            inode = *(ulong*)(buffer + StatxInodeOffset);
            return isDone;
        }

        if (OperatingSystem.IsMacOS())
        {
            bool isDone = RuntimeInformation.ProcessArchitecture == Architecture.X64
                ? StatInode64(path, buffer) == 0
                : Stat(path, buffer) == 0;
            mode = *(ushort*)(buffer + MacStatModeOffset);
            blockCount = *(long*)(buffer + MacStatBlocksOffset);
            inode = *(ulong*)(buffer + MacStatInodeOffset);
            return isDone;
        }

        mode = 0;
        blockCount = 0;
        inode = 0;
        return false;
    }

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle handle, int mode, long offsetBytes, long lengthBytes);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle handle, long offsetBytes, long lengthBytes, int advice);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long Seek(SafeFileHandle handle, long offsetBytes, int whence);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, byte* buffer);

    [LibraryImport("libc", EntryPoint = "stat", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Stat(string path, byte* buffer);

    [LibraryImport("libc", EntryPoint = "stat$INODE64", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatInode64(string path, byte* buffer);
}
