// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>The locks on single bytes by which QEMU's processes and Fleece's tell each other what they do to an image.</summary>
/// <remarks>
/// <para>As QEMU's file-posix driver takes them (seen with strace and in /proc/locks, QEMU 7.2), always shared and never
/// exclusive, on the open file description (F_OFD_SETLK):</para>
/// <code>
///  byte  a lock on it says            byte  a lock on it says
///  100   I read consistent data       200   nobody else may read consistent data
///  101   I write                      201   nobody else may write
///  102   I write what is there        202   nobody else may write what is there
///  103   I resize                     203   nobody else may resize
/// </code>
/// <para>Whoever opens an image takes all its locks first and then asks for each whether somebody else has the byte
/// that contradicts it. Of two that come at once, both may refuse; never do both go on.</para>
/// <para>A writer of Fleece shares nothing. QEMU's own writers let others read; what those would get from a disk that
/// is being written is not a disk at any instant, and QEMU's readers of raw images ask for nothing that would stop
/// them. A reader shares reading, and keeps out whoever would change the bytes.</para>
/// <para>The framework's lock on the whole file (flock, <see cref="FileShare"/>) stays beside these. It is what the
/// user's own scripts respect, for every program on .NET takes it, and what is left where there are no locks on
/// bytes.</para>
/// <para>On NFS both are the same locks, so a reader's flock would look to others like every byte at once; there it is
/// given back first. On SMB a locked byte can't be written, not even by its holder, so there flock is all.</para>
/// </remarks>
internal static class ImageLocks
{
    private const int UseBase = 100;
    private const int RefusalBase = 200;

    // Offsets within both groups of bytes.
    private const int Reading = 0;
    private const int Writing = 1;
    private const int WritingUnchanged = 2;
    private const int Resizing = 3;

    private static readonly int[] All = [Writing, Resizing, WritingUnchanged, Reading];
    private static readonly int[] ReaderUses = [Reading];
    private static readonly int[] ReaderRefusals = [Writing, Resizing];

    /// <summary>
    /// Takes the locks, or leaves the file without where its file system has none. After an error there are none.
    /// </summary>
    /// <param name="handle">The file, just opened.</param>
    /// <param name="path">Its path, for messages.</param>
    /// <param name="isReadOnly">True for a reader.</param>
    /// <param name="operation">What the error message calls this.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or what the system reports.</exception>
    public static void Take(SafeFileHandle handle, string path, bool isReadOnly, string operation)
    {
        PosixLocks.ByteLockSupport support = PosixLocks.FindByteLockSupport(handle);
        if (support == PosixLocks.ByteLockSupport.Unusable)
        {
            return;
        }

        if (support == PosixLocks.ByteLockSupport.SharedWithFileLock)
        {
            PosixLocks.ReleaseFileLock(handle);
        }

        int[] uses = isReadOnly ? ReaderUses : All;
        int[] refusals = isReadOnly ? ReaderRefusals : All;
        int errno = Lock(handle, UseBase, uses);
        errno = errno == 0 ? Lock(handle, RefusalBase, refusals) : errno;
        bool isWriter = false;
        bool isHeld = PosixLocks.IsLockedElsewhere(errno);
        if (errno == 0)
        {
            // First what tells most: one who writes, then one who merely stands in the way.
            errno = Find(handle, UseBase, refusals, out isHeld);
            isWriter = isHeld;
            if (errno == 0 && !isHeld)
            {
                errno = Find(handle, RefusalBase, uses, out isHeld);
            }
        }

        if (errno == 0 && !isHeld)
        {
            return;
        }

        Release(handle);
        if (isHeld)
        {
            string? holder = LockHolders.Find(path, handle);
            throw isReadOnly && isWriter
                ? FileErrors.BeingWritten(path, operation, holder)
                : FileErrors.InUse(path, operation, holder, cause: null);
        }

        if (!PosixLocks.HasNoByteLocks(errno))
        {
            throw FileErrors.FromCode(errno, path, operation);
        }
    }

    /// <summary>Gives the locks back before the file is closed.</summary>
    /// <remarks>
    /// Closing alone does not end them at once while this process starts another: between fork and exec the child has the
    /// open file too, and whoever opens the image in that moment would find it held by nobody.
    /// </remarks>
    public static void Release(SafeFileHandle handle)
    {
        if (OperatingSystem.IsLinux() && Environment.Is64BitProcess && !handle.IsClosed)
        {
            PosixLocks.UnlockBytes(handle, UseBase, RefusalBase + All.Length - UseBase);
        }
    }

    /// <summary>True while another handle has the file open for writing, as far as its file system tells. No lock is taken.</summary>
    public static bool IsWrittenElsewhere(SafeFileHandle handle) =>
        PosixLocks.FindByteLockSupport(handle) != PosixLocks.ByteLockSupport.Unusable &&
        PosixLocks.FindByteLock(handle, UseBase + Writing, out bool isLocked) == 0 && isLocked;

    private static int Lock(SafeFileHandle handle, int baseOffset, int[] bytes)
    {
        int errno = 0;
        for (int index = 0; index < bytes.Length && errno == 0; index++)
        {
            errno = PosixLocks.LockByte(handle, baseOffset + bytes[index]);
        }

        return errno;
    }

    private static int Find(SafeFileHandle handle, int baseOffset, int[] bytes, out bool isLocked)
    {
        int errno = 0;
        isLocked = false;
        for (int index = 0; index < bytes.Length && errno == 0 && !isLocked; index++)
        {
            errno = PosixLocks.FindByteLock(handle, baseOffset + bytes[index], out isLocked);
        }

        return errno;
    }
}
