// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <content>Durability and names.</content>
internal static unsafe partial class PosixFile
{
    // errno(3): EIO; EINVAL and ENOTSUP of macOS, ENOTTY of both.
    private const int IoErrno = 5;
    private const int NotATerminalErrno = 25;
    private const int MacNotSupportedErrno = 45;

    // fcntl(2) of macOS, sys/fcntl.h: F_FULLFSYNC.
    private const int FullFlushCommand = 51;

    // Imports are looked up in the whole program, as its own calls are, so that a library that was loaded before the C library
    // (LD_PRELOAD) is heard first. Tests make calls fail that way.
    static PosixFile() => NativeLibrary.SetDllImportResolver(
        typeof(PosixFile).Assembly, static (library, _, _) => library == "libc" ? NativeLibrary.GetMainProgramHandle() : 0);

    /// <summary>fdatasync(2) of Linux.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FlushData(SafeFileHandle handle)
    {
        while (FlushDataOnce(handle) != 0)
        {
            int errno = LastFlushErrno();
            if (errno != InterruptedErrno)
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
        while ((isFull ? Control(handle, FullFlushCommand) : FlushOnce(handle)) < 0)
        {
            int errno = LastFlushErrno();
            if (isFull && errno is InvalidErrno or NotATerminalErrno or MacNotSupportedErrno)
            {
                isFull = false;
            }
            else if (errno != InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }

    /// <summary>True when the errno of a flush says that this kind of file has none on this file system.</summary>
    public static bool IsNoSuchFlush(int errno) =>
        errno == InvalidErrno || errno == (OperatingSystem.IsMacOS() ? MacNotSupportedErrno : LinuxNotSupportedErrno);

    /// <summary>Opens a file or folder for nothing but a flush; the framework opens no folders.</summary>
    /// <returns>A handle, or null with the errno.</returns>
    public static SafeFileHandle? OpenForFlush(string path, out int errno)
    {
        int descriptor = Open(path, CloseOnExecute);
        errno = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>rename(2): the new name means the file at once, in place of what it meant before.</summary>
    /// <returns>0, or the errno.</returns>
    public static int Rename(string path, string newPath) => RenameOnce(path, newPath) == 0 ? 0 : Marshal.GetLastPInvokeError();

    // A failed flush never counts as one that worked, whatever became of its errno.
    private static int LastFlushErrno()
    {
        int errno = Marshal.GetLastPInvokeError();
        return errno == 0 ? IoErrno : errno;
    }

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FlushDataOnce(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FlushOnce(SafeFileHandle handle);

    // Variadic in C; this command has no further argument.
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle handle, int command);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameOnce(string path, string newPath);
}
