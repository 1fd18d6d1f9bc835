// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Ranges of an open file on Linux and macOS: holes, and what is read ahead.</summary>
/// <remarks>Calls give the answer "not supported" where a system has none; see <see cref="LibC"/>.</remarks>
internal static class PosixRanges
{
    // fallocate(2), include/uapi/linux/falloc.h: FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE.
    private const int KeepSize = 0x01;
    private const int PunchHole = 0x02;
    private const int ZeroRangeMode = 0x10;

    // posix_fadvise(2), include/uapi/linux/fadvise.h: POSIX_FADV_WILLNEED.
    private const int WillNeed = 3;

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

    /// <summary>Begins to read the range into the cache. A refusal of the system changes nothing.</summary>
    public static void ReadAhead(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        _ = LibC.Advise(handle, offsetBytes, lengthBytes, WillNeed);

    /// <summary>Frees the range and keeps the file's size; its bytes read as zeros, partial blocks too.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FreeRange(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        Allocate(handle, PunchHole | KeepSize, offsetBytes, lengthBytes);

    /// <summary>Zeroes the range and keeps the file's size; the file system may keep storage for it.</summary>
    /// <returns>0, or the errno.</returns>
    public static int ZeroRange(SafeFileHandle handle, long offsetBytes, long lengthBytes) =>
        Allocate(handle, ZeroRangeMode | KeepSize, offsetBytes, lengthBytes);

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
            foundBytes = LibC.Seek(handle, offsetBytes, whence);
            if (foundBytes >= 0)
            {
                return true;
            }

            switch (Marshal.GetLastPInvokeError())
            {
                case LibC.InterruptedErrno:
                    continue;
                case LibC.NoSuchDataErrno:
                    return true;
                default:
                    return false;
            }
        }
    }

    private static int Allocate(SafeFileHandle handle, int mode, long offsetBytes, long lengthBytes)
    {
        while (LibC.Allocate(handle, mode, offsetBytes, lengthBytes) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno != LibC.InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }
}
