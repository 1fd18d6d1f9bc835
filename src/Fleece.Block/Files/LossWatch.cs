// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Tells whether a file has lost bytes without a request of ours: another program cut it short
/// (<see cref="LocalFile.FindCut"/>), or the system failed to store writes that it had accepted; it drops their bytes then, and later
/// reads return the content of the storage.</summary>
/// <remarks>
/// <para>For the second it asks Linux by sync_file_range(2) for a range behind every file. That waits for nothing and stores nothing, and
/// fails once for each failure since the file was opened here, and for an earlier one that the system has told no process. The failure
/// is there before the system drops anything, so a read that began and ended before a question without one has found the bytes that were
/// written. Other systems have no such call.</para>
/// <para>Threading. <see cref="Find"/> from any thread; a listener hears on that thread, once. Ownership. It owns a descriptor of its
/// own, so that a flush of another descriptor takes no answer away.</para>
/// </remarks>
internal sealed class LossWatch : IDisposable
{
    private const long BehindEveryFileBytes = 1L << 62;
    private const uint WaitBefore = 1;

    private readonly Lock _lock = new();
    private readonly LocalFile _file;
    private readonly SafeFileHandle? _handle;
    private readonly Action<BlockException>? _failed;
    private BlockException? _failure;
    private bool _isSilent;
    private bool _isClosed;

    private LossWatch(LocalFile file, SafeFileHandle? handle, Action<BlockException>? failed)
    {
        Path = file.Path;
        _file = file;
        _handle = handle;
        _failed = failed;
    }

    /// <summary>The file's path, for messages; the code that renames it sets it.</summary>
    public string Path { get; set; }

    /// <summary>Watches a file that is open, whatever it is called by now. One that is open for reading only may be cut short, and has no
    /// writes to lose.</summary>
    /// <param name="file">The file, which stays open for as long as the watch.</param>
    /// <param name="failed">Hears of the first failure before it is given; null for none. It may take locks.</param>
    /// <exception cref="BlockException">Why the file can't be opened once more.</exception>
    public static LossWatch Open(LocalFile file, Action<BlockException>? failed = null) =>
        new(file, file.IsReadOnly ? null : OpenHandle(file), failed);

    /// <summary>The first failure; null while there is none. A later call returns it again. Once closed, it finds no other one.</summary>
    public BlockException? Find()
    {
        BlockException? failure;

        // Under a lock, because the system tells it to one of those that ask at once.
        lock (_lock)
        {
            if (_failure is not null || _isClosed)
            {
                return _failure;
            }

            failure = FindUnstored() ?? _file.FindCut();
            _failure = failure;
        }

        if (failure is not null)
        {
            _failed?.Invoke(failure);
        }

        return failure;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            _isClosed = true;
            _handle?.Dispose();
        }
    }

    private static SafeFileHandle? OpenHandle(LocalFile file)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return null;
        }

        return PosixFlush.OpenUnlocked(file.Place, out int errno) ?? throw FileErrors.FromCode(errno, file.Path, "open");
    }

    private BlockException? FindUnstored()
    {
        if (_handle is null || _isSilent)
        {
            return null;
        }

        int errno = Ask(_handle);
        _isSilent = LibC.IsNotSupported(errno) || errno is LibC.InvalidErrno or LibC.NotPermittedErrno;
        return errno == 0 || _isSilent ? null : FileErrors.NotStored(errno, Path);
    }

    private static int Ask(SafeFileHandle handle)
    {
        while (LibC.SyncRange(handle, BehindEveryFileBytes, 1, WaitBefore) != 0)
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
