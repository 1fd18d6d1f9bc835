// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Tells whether the system failed to store writes that it had accepted for a file: it drops their bytes then, and later reads
/// return the content of the storage.</summary>
/// <remarks>
/// <para>It asks Linux by sync_file_range(2) for a range behind every file. That waits for nothing and stores nothing, and fails once for
/// each failure since the file was opened here, and for an earlier one that the system has told no process. The failure is there before the
/// system drops anything, so a read that began and ended before a question without one has found the bytes that were
/// written. Other systems have no such call, and <see cref="Open(string)"/> gives none.</para>
/// <para>Threading. <see cref="Find"/> from any thread; a listener hears on that thread, once. Ownership. It owns a descriptor of its
/// own, so that a flush of another descriptor takes no answer away.</para>
/// </remarks>
internal sealed class WriteBackWatch : IDisposable
{
    private const long BehindEveryFileBytes = 1L << 62;
    private const uint WaitBefore = 1;

    private readonly Lock _lock = new();
    private readonly SafeFileHandle _handle;
    private readonly Action<BlockException>? _failed;
    private BlockException? _failure;
    private bool _isSilent;

    private WriteBackWatch(string path, SafeFileHandle handle, Action<BlockException>? failed)
    {
        Path = path;
        _handle = handle;
        _failed = failed;
    }

    /// <summary>The file's path, for messages; the code that renames it sets it.</summary>
    public string Path { get; set; }

    /// <summary>Watches a file from now on.</summary>
    /// <returns>Null where the system does not tell.</returns>
    /// <exception cref="BlockException">Why the file can't be opened.</exception>
    public static WriteBackWatch? Open(string path) => Open(path, path, failed: null);

    /// <summary>Watches a file that is open, whatever it is called by now.</summary>
    /// <param name="file">The file.</param>
    /// <param name="failed">Hears of the first failure before it is given; null for none. It may take locks.</param>
    /// <inheritdoc cref="Open(string)"/>
    public static WriteBackWatch? Open(LocalFile file, Action<BlockException>? failed = null) => Open(file.Path, file.Place, failed);

    /// <summary>The first failure; null while there is none. A later call returns it again. Once closed, it finds no other one.</summary>
    public BlockException? Find()
    {
        BlockException? failure;

        // Under a lock, because the system tells it to one of those that ask at once.
        lock (_lock)
        {
            if (_failure is not null || _isSilent || _handle.IsClosed)
            {
                return _failure;
            }

            int errno = Ask();
            _isSilent = LibC.IsNotSupported(errno) || errno is LibC.InvalidErrno or LibC.NotPermittedErrno;
            failure = errno == 0 || _isSilent ? null : FileErrors.NotStored(errno, Path);
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
            _handle.Dispose();
        }
    }

    private static WriteBackWatch? Open(string path, string place, Action<BlockException>? failed)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return null;
        }

        SafeFileHandle handle = PosixFlush.OpenUnlocked(place, out int errno) ?? throw FileErrors.FromCode(errno, path, "open");
        return new WriteBackWatch(path, handle, failed);
    }

    private int Ask()
    {
        while (LibC.SyncRange(_handle, BehindEveryFileBytes, 1, WaitBefore) != 0)
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
