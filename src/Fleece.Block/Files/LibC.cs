// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>The C library of Linux and macOS: the calls that the framework does not wrap.</summary>
/// <remarks>
/// Offsets are 64 bits wide only where off_t is, so a 32-bit process on Linux makes none of the calls that have some, and gets the
/// answer "not supported", for which every caller has a fallback.
/// </remarks>
internal static unsafe partial class LibC
{
    // errno(3), include/uapi/asm-generic/errno-base.h and errno.h; all but the last are the same on macOS.
    public const int NotPermittedErrno = 1;
    public const int InterruptedErrno = 4;
    public const int NoSuchDataErrno = 6;
    public const int InvalidErrno = 22;
    public const int ResultTooLargeErrno = 34;
    public const int LinuxNotSupportedErrno = 95;
    private const int LinuxNoSystemCallErrno = 38;

    // Imports are looked up in the whole program, as its own calls are, so that a library that was loaded before the C library
    // (LD_PRELOAD) is heard first. Tests make calls fail that way.
    static LibC() => NativeLibrary.SetDllImportResolver(
        typeof(LibC).Assembly, static (library, _, _) => library == "libc" ? NativeLibrary.GetMainProgramHandle() : 0);

    /// <summary>True when the errno says that this file system or kernel has no such call.</summary>
    public static bool IsNotSupported(int errno) =>
        errno is LinuxNotSupportedErrno or LinuxNoSystemCallErrno;

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Allocate(SafeFileHandle handle, int mode, long offsetBytes, long lengthBytes);

    // A thread that waits in here for storage keeps no garbage collection waiting, as one that waits in a store of managed code does.
    [LibraryImport("libc", EntryPoint = "memcpy")]
    public static partial byte* Copy(byte* target, byte* source, nint lengthBytes);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    public static partial int Advise(SafeFileHandle handle, long offsetBytes, long lengthBytes, int advice);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Seek(SafeFileHandle handle, long offsetBytes, int whence);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Statx(int folder, string path, int flags, uint mask, byte* buffer);

    [LibraryImport("libc", EntryPoint = "stat", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Stat(string path, byte* buffer);

    [LibraryImport("libc", EntryPoint = "stat$INODE64", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int StatInode64(string path, byte* buffer);

    [LibraryImport("libc", EntryPoint = "fstatfs")]
    public static partial int StatFileSystem(SafeFileHandle handle, byte* buffer);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint GetUserId();

    // Variadic in C; Linux passes such arguments as it passes others. Other systems never get here.
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int ControlLock(SafeFileHandle handle, int command, ref ByteLock range);

    [LibraryImport("libc", EntryPoint = "flock")]
    public static partial int LockFile(SafeFileHandle handle, int operation);

    // Variadic in C; a command that is given here has no further argument.
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int Control(SafeFileHandle handle, int command);

    // Variadic in C; only Linux gets here, which passes such arguments as it passes others.
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int Control(SafeHandle handle, int command, int argument);

    // nfds_t has the width of a register or less.
    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(ref PollEntry entries, nuint count, int timeoutMilliseconds);

    [LibraryImport("libc", EntryPoint = "lchown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int ChangeOwner(string path, uint userId, uint groupId);

    [LibraryImport("libc", EntryPoint = "getgrnam_r", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int FindGroup(string name, ref GroupEntry group, ref byte buffer, nuint bufferBytes, out nint found);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int FlushData(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int Flush(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "sync_file_range", SetLastError = true)]
    public static partial int SyncRange(SafeFileHandle handle, long offsetBytes, long lengthBytes, uint flags);

    // Variadic for the mode of a new file only, which this call never makes.
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Rename(string path, string newPath);

    // struct pollfd.
    [StructLayout(LayoutKind.Sequential)]
    public struct PollEntry
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }

    // struct group.
    [StructLayout(LayoutKind.Sequential)]
    public struct GroupEntry
    {
        public nint Name;
        public nint Password;
        public uint Id;
        public nint Members;
    }

    // struct flock where off_t has 64 bits. The process must be 0 for locks of an open file; the kernel answers -1.
    [StructLayout(LayoutKind.Sequential)]
    public struct ByteLock
    {
        public short Type;
        public short Whence;
        public long OffsetBytes;
        public long LengthBytes;
        public int ProcessId;
    }
}
