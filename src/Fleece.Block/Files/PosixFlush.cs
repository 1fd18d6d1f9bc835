// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Makes files and names durable on Linux and macOS.</summary>
internal static class PosixFlush
{
    // errno(3): EIO, ENOTTY, and ENOTSUP of macOS.
    private const int IoErrno = 5;
    private const int NotATerminalErrno = 25;
    private const int MacNotSupportedErrno = 45;

    // fcntl(2) of macOS, sys/fcntl.h: F_FULLFSYNC.
    private const int FullFlushCommand = 51;

    // open(2): O_CLOEXEC and O_NONBLOCK, without which the opening of a fifo waits for its other end; O_RDONLY is 0.
    private static readonly int OpenFlags = OperatingSystem.IsMacOS() ? 0x1000000 | 0x4 : 0x80000 | 0x800;

    /// <summary>fdatasync(2) of Linux.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FlushData(SafeFileHandle handle)
    {
        while (LibC.FlushData(handle) != 0)
        {
            int errno = LastFlushErrno();
            if (errno != LibC.InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }

    /// <summary>fsync(2); on macOS F_FULLFSYNC, because fsync there leaves the data in the drive's cache.</summary>
    /// <remarks>A file system of macOS that has no F_FULLFSYNC (network shares) gets fsync, which is all that it offers.</remarks>
    /// <returns>0, or the errno.</returns>
    public static int Flush(SafeFileHandle handle)
    {
        bool isFull = OperatingSystem.IsMacOS();
        while ((isFull ? LibC.Control(handle, FullFlushCommand) : LibC.Flush(handle)) < 0)
        {
            int errno = LastFlushErrno();
            if (isFull && errno is LibC.InvalidErrno or NotATerminalErrno or MacNotSupportedErrno)
            {
                isFull = false;
            }
            else if (errno != LibC.InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }

    /// <summary>True when the errno of a flush says that this kind of file has none on this file system.</summary>
    public static bool IsNoSuchFlush(int errno) =>
        errno == LibC.InvalidErrno || errno == (OperatingSystem.IsMacOS() ? MacNotSupportedErrno : LibC.LinuxNotSupportedErrno);

    /// <summary>Opens a file or folder for a flush, or to read what another handle has locked; the framework opens no folders, and locks
    /// files.</summary>
    /// <returns>A handle, or null with the errno.</returns>
    public static SafeFileHandle? OpenUnlocked(string path, out int errno)
    {
        int descriptor = LibC.Open(path, OpenFlags);
        errno = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>rename(2): the new name means the file at once, in place of what it meant before.</summary>
    /// <returns>0, or the errno.</returns>
    public static int Rename(string path, string newPath) => LibC.Rename(path, newPath) == 0 ? 0 : Marshal.GetLastPInvokeError();

    // A failed flush never counts as one that worked, whatever became of its errno.
    private static int LastFlushErrno()
    {
        int errno = Marshal.GetLastPInvokeError();
        return errno == 0 ? IoErrno : errno;
    }
}
