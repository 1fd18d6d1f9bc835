// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Locks on single bytes and on whole files, as Linux has them.</summary>
internal static unsafe class PosixLocks
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

    // errno(3): EAGAIN and EACCES, the two that POSIX allows for a lock of another process; ENOLCK.
    private const int TryAgainErrno = 11;
    private const int NoAccessErrno = 13;
    private const int NoLocksErrno = 37;

    // statfs(2), include/uapi/linux/magic.h, and fs/smb/client/cifsfs.h.
    private const int StatfsBufferBytes = 256;
    private const uint NfsMagic = 0x6969;
    private const uint SmbMagic = 0x517B;
    private const uint CifsMagic = 0xFF534D42;
    private const uint Smb2Magic = 0xFE534D42;

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
        uint magic = LibC.StatFileSystem(handle, buffer) == 0 ? (uint)*(long*)buffer : 0;
        return magic switch
        {
            NfsMagic => ByteLockSupport.SharedWithFileLock,
            SmbMagic or CifsMagic or Smb2Magic => ByteLockSupport.Unusable,
            _ => ByteLockSupport.Independent,
        };
    }

    /// <summary>Gives back the lock on the whole file that the framework takes when it opens one.</summary>
    public static void ReleaseFileLock(SafeFileHandle handle) => _ = LibC.LockFile(handle, UnlockFile);

    /// <summary>Takes a lock on one byte that others may take too.</summary>
    /// <returns>0, or the errno.</returns>
    public static int LockByte(SafeFileHandle handle, long offsetBytes)
    {
        LibC.ByteLock range = new() { Type = ReadLock, OffsetBytes = offsetBytes, LengthBytes = 1 };
        return SetLock(handle, ref range);
    }

    /// <summary>Gives back the locks on a range of bytes; nothing happens without one.</summary>
    public static void UnlockBytes(SafeFileHandle handle, long offsetBytes, long lengthBytes)
    {
        LibC.ByteLock range = new() { Type = NoLock, OffsetBytes = offsetBytes, LengthBytes = lengthBytes };
        _ = SetLock(handle, ref range);
    }

    /// <summary>Asks whether another handle has a lock on the byte.</summary>
    /// <returns>0, or the errno.</returns>
    public static int FindByteLock(SafeFileHandle handle, long offsetBytes, out bool isLocked)
    {
        LibC.ByteLock range = new() { Type = WriteLock, OffsetBytes = offsetBytes, LengthBytes = 1 };
        int errno = LibC.ControlLock(handle, GetLockCommand, ref range) == 0 ? 0 : Marshal.GetLastPInvokeError();
        isLocked = errno == 0 && range.Type != NoLock;
        return errno;
    }

    /// <summary>True when the errno says that another process has a lock.</summary>
    public static bool IsLockedElsewhere(int errno) => errno is TryAgainErrno or NoAccessErrno;

    /// <summary>True when the errno says that this file system or kernel has no locks on bytes.</summary>
    public static bool HasNoByteLocks(int errno) => errno is LibC.InvalidErrno or NoLocksErrno || LibC.IsNotSupported(errno);

    /// <summary>True when this handle, whose locks have been taken, really has some: then no other process that took them has the
    /// file.</summary>
    public static bool HasLocks(SafeFileHandle handle) => FindByteLockSupport(handle) == ByteLockSupport.Unusable
        ? LibC.LockFile(handle, LockFileNow) == 0
        : LockByte(handle, 0) == 0;

    private static int SetLock(SafeFileHandle handle, ref LibC.ByteLock range)
    {
        while (LibC.ControlLock(handle, SetLockCommand, ref range) != 0)
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
