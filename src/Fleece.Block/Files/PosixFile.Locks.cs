// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <content>Locks on single bytes, and which file is which.</content>
internal static unsafe partial class PosixFile
{
    // fcntl(2), include/uapi/asm-generic/fcntl.h: F_OFD_GETLK and F_OFD_SETLK, F_RDLCK, F_WRLCK, F_UNLCK.
    private const int GetLockCommand = 36;
    private const int SetLockCommand = 37;
    private const short ReadLock = 0;
    private const short WriteLock = 1;
    private const short NoLock = 2;

    // flock(2): LOCK_UN, LOCK_EX | LOCK_NB.
    private const int UnlockFile = 8;
    private const int LockFileNow = 2 | 4;

    // errno(3): EAGAIN and EACCES, the two that POSIX allows for a lock that somebody else holds; EINVAL, ENOLCK.
    private const int TryAgainErrno = 11;
    private const int NoAccessErrno = 13;
    private const int InvalidErrno = 22;
    private const int NoLocksErrno = 37;

    // statfs(2), include/uapi/linux/magic.h, and fs/smb/client/cifsfs.h.
    private const int StatfsBufferBytes = 256;
    private const uint NfsMagic = 0x6969;
    private const uint SmbMagic = 0x517B;
    private const uint CifsMagic = 0xFF534D42;
    private const uint Smb2Magic = 0xFE534D42;

    // statx(2): STATX_INO, AT_STATX_DONT_SYNC (no question goes to a server), where stx_ino and stx_dev_* lie.
    private const uint StatxInodeMask = 0x100;
    private const int StatxDontSync = 0x4000;
    private const int StatxDeviceOffset = 136;

    // statx(2): STATX_TYPE | STATX_NLINK | STATX_UID | STATX_INO, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, stx_nlink and stx_uid.
    private const uint StatxLookMask = 0x001 | 0x004 | 0x008 | 0x100;
    private const int StatxNoFollow = 0x100;
    private const int StatxEmptyPath = 0x1000;
    private const int StatxNameCountOffset = 16;
    private const int StatxUserOffset = 20;

    // open(2): O_CLOEXEC; O_RDONLY is 0.
    private static readonly int CloseOnExecute = OperatingSystem.IsMacOS() ? 0x1000000 : 0x80000;

    /// <summary>What locks on bytes mean to the file system of an open file.</summary>
    public enum ByteLockSupport
    {
        /// <summary>They are independent of the lock on the whole file.</summary>
        Independent,

        /// <summary>The lock on the whole file is a lock on all bytes (NFS), so only one of the two can be had.</summary>
        SharedWithFileLock,

        /// <summary>They would keep the holder itself from writing to the bytes (SMB), or there are none.</summary>
        Unusable,
    }

    /// <summary>Which kind of lock the file may have.</summary>
    public static ByteLockSupport FindByteLockSupport(SafeFileHandle handle)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return ByteLockSupport.Unusable;
        }

        byte* buffer = stackalloc byte[StatfsBufferBytes];
        uint magic = Fstatfs(handle, buffer) == 0 ? (uint)*(long*)buffer : 0;
        return magic switch
        {
            NfsMagic => ByteLockSupport.SharedWithFileLock,
            SmbMagic or CifsMagic or Smb2Magic => ByteLockSupport.Unusable,
            _ => ByteLockSupport.Independent,
        };
    }

    /// <summary>Gives back the lock on the whole file that the framework takes when it opens one.</summary>
    public static void ReleaseFileLock(SafeFileHandle handle) => _ = Flock(handle, UnlockFile);

    /// <summary>Takes a lock on one byte that others may take too.</summary>
    /// <returns>0, or the errno.</returns>
    public static int LockByte(SafeFileHandle handle, long offsetBytes)
    {
        ByteLock range = new() { Type = ReadLock, OffsetBytes = offsetBytes, LengthBytes = 1 };
        return SetLock(handle, ref range);
    }

    /// <summary>Gives back the locks on a range of bytes; nothing happens without one.</summary>
    public static void UnlockBytes(SafeFileHandle handle, long offsetBytes, long lengthBytes)
    {
        ByteLock range = new() { Type = NoLock, OffsetBytes = offsetBytes, LengthBytes = lengthBytes };
        _ = SetLock(handle, ref range);
    }

    /// <summary>Asks whether anybody but the holder of this handle has a lock on the byte.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FindByteLock(SafeFileHandle handle, long offsetBytes, out bool isLocked)
    {
        ByteLock range = new() { Type = WriteLock, OffsetBytes = offsetBytes, LengthBytes = 1 };
        int errno = Fcntl(handle, GetLockCommand, ref range) == 0 ? 0 : Marshal.GetLastPInvokeError();
        isLocked = errno == 0 && range.Type != NoLock;
        return errno;
    }

    /// <summary>True when the errno says that somebody else has a lock.</summary>
    public static bool IsLockedElsewhere(int errno) => errno is TryAgainErrno or NoAccessErrno;

    /// <summary>True when the errno says that this file system or kernel has no locks on bytes.</summary>
    public static bool HasNoByteLocks(int errno) => errno is InvalidErrno or NoLocksErrno || IsNotSupported(errno);

    /// <summary>Tells files apart as stat(2) does, without asking a server.</summary>
    public static bool TryGetIdentity(string path, out (ulong Device, ulong Inode) identity)
    {
        identity = default;
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }

        byte* buffer = stackalloc byte[StatBufferBytes];
        if (Statx(CurrentFolder, path, StatxDontSync, StatxInodeMask, buffer) != 0)
        {
            return false;
        }

        identity = (*(ulong*)(buffer + StatxDeviceOffset), *(ulong*)(buffer + StatxInodeOffset));
        return true;
    }

    /// <summary>The user on whose behalf this process opens files. Linux only.</summary>
    public static uint UserId => GetUserId();

    /// <summary>Looks at what a path names, without following a link. Linux only.</summary>
    public static bool TryLook(string path, out FileLook look) => TryLook(CurrentFolder, path, StatxNoFollow, out look);

    /// <summary>Looks at an open file. Linux only.</summary>
    public static bool TryLook(SafeFileHandle handle, out FileLook look) =>
        TryLook((int)handle.DangerousGetHandle(), string.Empty, StatxEmptyPath, out look);

    /// <summary>True when this handle, whose locks have been taken, really has some: then no other process that took them has the
    /// file.</summary>
    public static bool HasLocks(SafeFileHandle handle) => FindByteLockSupport(handle) == ByteLockSupport.Unusable
        ? Flock(handle, LockFileNow) == 0
        : LockByte(handle, 0) == 0;

    private static bool TryLook(int folder, string path, int flags, out FileLook look)
    {
        byte* buffer = stackalloc byte[StatBufferBytes];
        bool isDone = Statx(folder, path, flags, StatxLookMask, buffer) == 0;
        look = isDone
            ? new FileLook(
                *(ulong*)(buffer + StatxDeviceOffset),
                *(ulong*)(buffer + StatxInodeOffset),
                (*(ushort*)(buffer + StatxModeOffset) & FileTypeMask) == RegularFileType,
                *(uint*)(buffer + StatxNameCountOffset),
                *(uint*)(buffer + StatxUserOffset))
            : default;
        return isDone;
    }

    private static int SetLock(SafeFileHandle handle, ref ByteLock range)
    {
        while (Fcntl(handle, SetLockCommand, ref range) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno != InterruptedErrno)
            {
                return errno;
            }
        }

        return 0;
    }

    // Variadic in C; Linux passes such arguments as it passes others. Other systems never get here.
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Fcntl(SafeFileHandle handle, int command, ref ByteLock range);

    [LibraryImport("libc", EntryPoint = "flock")]
    private static partial int Flock(SafeFileHandle handle, int operation);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetUserId();

    [LibraryImport("libc", EntryPoint = "fstatfs")]
    private static partial int Fstatfs(SafeFileHandle handle, byte* buffer);

    // Variadic for the mode of a new file only, which this call never makes.
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    /// <summary>What tells whether a name still leads to a file, and whose it is.</summary>
    public readonly record struct FileLook(ulong Device, ulong Inode, bool IsRegular, uint NameCount, uint UserId);

    // struct flock where off_t has 64 bits. The process must be 0 for these commands; the kernel answers -1.
    [StructLayout(LayoutKind.Sequential)]
    private struct ByteLock
    {
        public short Type;
        public short Whence;
        public long OffsetBytes;
        public long LengthBytes;
        public int ProcessId;
    }
}
