// SPDX-License-Identifier: MIT
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>One open file of the local system that may grow: what image formats keep their containers in.</summary>
/// <remarks>
/// <para>Positional I/O on one handle; every call completes before it returns. A file grows when something is written
/// behind its end; <see cref="FileNode"/> gives it a fixed geometry.</para>
/// <para>Another program may cut the file short, for locks are advisory. It is as long as this object has found and made it, and a read
/// that ends before that fails with <see cref="BlockErrors.Truncated"/>. From then on the file takes no changes: they would make it
/// long again, with zeros in the place of lost bytes.</para>
/// <para>Locking. A file opened for writing is open once; one opened for reading may be open for reading any number of
/// times. On Linux that holds against QEMU too (<see cref="ImageLocks"/>); on macOS it is flock, which keeps programs on
/// .NET apart and no others; both are advisory. On Windows the system enforces it.</para>
/// <para>Threading. All members are safe from any thread, and calls run in parallel as far as the system lets them;
/// <see cref="Dispose"/> only when no call is running.</para>
/// <para>Errors. <see cref="BlockException"/>, with the system's errors mapped by one table; a call after
/// <see cref="Dispose"/> is <see cref="BlockErrors.Closed"/>.</para>
/// </remarks>
internal sealed class LocalFile : IDisposable
{
    private const int ZeroesBytes = 256 * 1024;

    // Shared by all files; nothing writes to it.
    private static readonly byte[] Zeroes = new byte[ZeroesBytes];

    private readonly FileExtents _extents;
    private readonly SharedFlush _flush;
    private readonly FileStream? _creation;
    private readonly bool _isTransient;
    private readonly KnownLength _length;

    private LocalFile(
        string path,
        SafeFileHandle handle,
        bool isReadOnly,
        FileStream? creation = null,
        bool isTransient = false,
        Action<BlockException>? flushFailed = null)
    {
        _creation = creation;
        _isTransient = isTransient;
        Path = path;
        Handle = handle;
        IsReadOnly = isReadOnly;
        _length = new KnownLength(() => LengthBytes, (endBytes, missingBytes) => FileErrors.Cut(PresentPath, endBytes, missingBytes));
        _extents = new FileExtents(handle, path, isReadOnly);
        _flush = new SharedFlush(() => FileFlush.Data(handle, path), path, flushFailed);
    }

    /// <summary>The full path of the file.</summary>
    public string Path { get; }

    /// <summary>True when it was opened for reading only.</summary>
    public bool IsReadOnly { get; }

    /// <summary>The handle, for locks and identity. This class owns it, and I/O goes through this class.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>The full path at which the file lies, all links followed: on Linux as the kernel opened it (proc_pid_fd(5)), so a link
    /// that was changed since makes no difference; elsewhere as <see cref="Path"/>.</summary>
    public string Place => OperatingSystem.IsLinux()
        ? new FileInfo(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{Handle.DangerousGetHandle()}")).LinkTarget ?? Path
        : Path;

    /// <summary>False once another file, or none, is at <see cref="Path"/>: it was renamed or deleted while it is open. Where the system
    /// does not tell files apart, true while there is one.</summary>
    public bool HasItsName => !OperatingSystem.IsLinux() || !PosixStat.TryLook(Handle, out PosixStat.FileLook opened)
        ? File.Exists(Path)
        : PosixStat.TryLook(Path, out PosixStat.FileLook look) && look == opened;

    /// <summary>Where the file is now, for messages: <see cref="Path"/>, unless it was renamed while it is open, and the system tells
    /// where to.</summary>
    internal string PresentPath
    {
        get
        {
            if (!OperatingSystem.IsLinux() || !PosixStat.TryLook(Handle, out PosixStat.FileLook opened) ||
                (PosixStat.TryLookHere(Path, out PosixStat.FileLook here) && here == opened))
            {
                return Path;
            }

            string place = Place;
            return PosixStat.TryLookHere(place, out PosixStat.FileLook there) && there == opened ? place : Path;
        }
    }

    /// <summary>The length of the file now.</summary>
    public long LengthBytes
    {
        get
        {
            try
            {
                return RandomAccess.GetLength(Handle);
            }
            catch (Exception exception) when (FileErrors.IsFromSystem(exception))
            {
                throw FileErrors.From(exception, PresentPath, "query");
            }
        }
    }

    /// <summary>False where <see cref="ReadAhead"/> does nothing: the system has no such call.</summary>
    public static bool CanReadAhead => PosixRanges.HasReadAhead;

    /// <summary>Opens a regular file that exists.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isReadOnly">Reads only, and lets others read; otherwise no other process may open it.</param>
    /// <param name="isTransient">True for a file that is useless after a crash of the system: nothing makes it durable.</param>
    /// <param name="flushFailed">Hears once of the first flush that fails, on its thread and before it reports; null for none.</param>
    /// <remarks>
    /// What another process, QEMU's too, has open for writing is <see cref="BlockErrors.InUse"/> for a reader as well: its
    /// content can't be trusted.
    /// </remarks>
    /// <exception cref="BlockException">NotFound, NotAFile, InUse, PermissionDenied, InvalidArgument, IoFailed.
    /// </exception>
    public static LocalFile Open(
        string path, bool isReadOnly, bool isTransient = false, Action<BlockException>? flushFailed = null)
    {
        string fullPath = FileOpening.FullPath(path, "open");
        SafeFileHandle handle = FileOpening.Open(fullPath, isReadOnly);
        LocalFile file = new(fullPath, handle, isReadOnly, isTransient: isTransient, flushFailed: flushFailed);
        try
        {
            file._length.Raise(file.LengthBytes);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Creates a sparse file that reads as zeros. A failure leaves nothing behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Its first length, 0 or more.</param>
    /// <param name="deleteOnDispose">
    /// True for a file that ends with this object; a killed process leaves it behind. Such a file holds a guest's data, so on
    /// Linux and macOS its owner alone may read it.
    /// </param>
    /// <exception cref="BlockException">AlreadyExists, NotFound (the folder), InUse (by who opened it the moment it was
    /// there), PermissionDenied, NoSpace (also for a length that the file system can't hold), InvalidArgument, InvalidRange,
    /// IoFailed.</exception>
    public static LocalFile Create(string path, long lengthBytes, bool deleteOnDispose = false)
    {
        _ = new BlockRange(0, lengthBytes);
        string fullPath = FileOpening.FullPath(path, "create");
        FileStream creation = FileOpening.Create(fullPath, deleteOnDispose);
        LocalFile file = new(fullPath, creation.SafeFileHandle, isReadOnly: false, creation);
        try
        {
            ImageLocks.Take(file.Handle, fullPath, isReadOnly: false, "create");
            file.SetLength(lengthBytes);
            return file;
        }
        catch
        {
            FileOpening.Undo(file);
            throw;
        }
    }

    /// <summary>Makes the file longer, with zeros and without storage, or shorter.</summary>
    public void SetLength(long lengthBytes)
    {
        CheckChange(0, lengthBytes, "resize");
        _length.Lower(lengthBytes);
        try
        {
            RandomAccess.SetLength(Handle, lengthBytes);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, PresentPath, "resize", lengthBytes);
        }

        _length.Raise(lengthBytes);
    }

    /// <inheritdoc cref="KnownLength.FindCut"/>
    public BlockException? FindCut() => _length.FindCut();

    /// <summary>Reads as many bytes as the file holds there: fewer than asked only at its end.</summary>
    /// <returns>The number of bytes read, possibly 0.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.Truncated"/> where the file was longer; read errors.</exception>
    public int ReadUpTo(long offsetBytes, Span<byte> buffer)
    {
        _ = new BlockRange(offsetBytes, buffer.Length);
        int doneBytes = 0;
        try
        {
            while (doneBytes < buffer.Length)
            {
                int readBytes = RandomAccess.Read(Handle, buffer[doneBytes..], offsetBytes + doneBytes);
                if (readBytes == 0)
                {
                    break;
                }

                doneBytes += readBytes;
            }
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, PresentPath, "read", offsetBytes + doneBytes);
        }

        return doneBytes < buffer.Length && offsetBytes + doneBytes < _length.LeastBytes && FindCut() is { } cut
            ? throw cut
            : doneBytes;
    }

    /// <summary>Fills the buffer; a file that ends before is <see cref="BlockErrors.Truncated"/>.</summary>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int doneBytes = ReadUpTo(offsetBytes, buffer);
        if (doneBytes < buffer.Length)
        {
            throw FileErrors.Truncated(PresentPath, offsetBytes + doneBytes, buffer.Length - doneBytes);
        }
    }

    /// <summary>Has the system begin to read the range into its cache; a hint, which never fails.</summary>
    public void ReadAhead(BlockRange range)
    {
        if (CanReadAhead && !range.IsEmpty)
        {
            PosixRanges.ReadAhead(Handle, range.OffsetBytes, range.LengthBytes);
        }
    }

    /// <summary>Stores all of the data, behind the end of the file too.</summary>
    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        CheckChange(offsetBytes, data.Length, "write");
        try
        {
            RandomAccess.Write(Handle, data, offsetBytes);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, PresentPath, "write", offsetBytes);
        }

        _length.Raise(offsetBytes + data.Length);
    }

    /// <summary>
    /// Makes the part of the range that lies in the file read as zeros; the file does not grow. Storage is freed where
    /// the file system can, which those of Linux and Windows mostly do; elsewhere, and on macOS, zeros are written.
    /// </summary>
    public void WriteZeroes(BlockRange range) => WriteZeroes(range, isLengthFixed: false);

    /// <summary>
    /// Frees the whole 4 KiB blocks of the range, which then read as zeros; the bytes around them keep their content,
    /// and so does everything where the file system can't free. A range that reaches the end of the file counts as
    /// whole there. The length stays.
    /// </summary>
    public void Discard(BlockRange range) => Discard(range, isLengthFixed: false);

    /// <summary>Makes every write that completed before this call durable, and the length with it. Once one flush has failed, every later
    /// one of this object fails with the same cause: the system may have dropped what it could not store. A file that was opened as
    /// transient does nothing.</summary>
    public void Flush()
    {
        if (_length.Cut is { } cut)
        {
            throw cut;
        }

        if (!IsReadOnly && !_isTransient)
        {
            _flush.Run();
        }
    }

    /// <summary>
    /// What the file system says of the start of the range: data, or a hole (<see cref="BlockStatus.Unallocated"/>),
    /// and how far that goes within the range. Data where the file system can't tell, and behind the end of the file.
    /// </summary>
    public BlockStatusRun FindExtent(BlockRange range)
    {
        try
        {
            if (range.IsEmpty || !_extents.TryFindStored(range, out BlockRange stored))
            {
                return new BlockStatusRun(BlockStatus.Data, range.LengthBytes);
            }

            if (stored.IsEmpty)
            {
                // A file that something has shortened has no hole behind its end: a read there fails, so the answer
                // must not be one that spares the reader the read.
                bool isInside = range.EndBytes <= LengthBytes;
                return new BlockStatusRun(isInside ? BlockStatus.Unallocated : BlockStatus.Data, range.LengthBytes);
            }

            return stored.OffsetBytes > range.OffsetBytes
                ? new BlockStatusRun(BlockStatus.Unallocated, stored.OffsetBytes - range.OffsetBytes)
                : new BlockStatusRun(BlockStatus.Data, stored.LengthBytes);
        }
        catch (ObjectDisposedException exception)
        {
            throw FileErrors.From(exception, PresentPath, "query", range.OffsetBytes);
        }
    }

    /// <summary>Closes the file without flushing it. Idempotent.</summary>
    /// <remarks>The framework does not say what the system answers to the close. Where network file systems and quotas report late, they
    /// report to a flush before that, so a caller that promises durability flushes first.</remarks>
    public void Dispose()
    {
        ImageLocks.Release(Handle);
        Handle.Dispose();
        _creation?.Dispose();
    }

    /// <inheritdoc cref="WriteZeroes(BlockRange)"/>
    /// <param name="range">What to zero.</param>
    /// <param name="isLengthFixed">True when nobody makes the file longer; then its last block is freed too.</param>
    /// <param name="flags">What the write asks beyond its zeros.</param>
    /// <param name="cancellationToken">Ends the writing of zeros where the file system has no call for it.</param>
    internal void WriteZeroes(
        BlockRange range, bool isLengthFixed, WriteFlags flags = WriteFlags.None, CancellationToken cancellationToken = default)
    {
        BlockRange inside = CheckInside(range, "write zeros to", out bool reachesEnd);
        if (inside.IsEmpty || _extents.TryZero(inside, isLengthFixed && reachesEnd, "write zeros to"))
        {
            return;
        }

        if ((flags & WriteFlags.OnlyIfFast) != 0)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"The file system of '{Path}' has no call for zeros, so they would be written one by one.",
                Path,
                range.OffsetBytes,
                "write zeros to");
        }

        long atBytes = inside.OffsetBytes;
        while (atBytes < inside.EndBytes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int pieceBytes = (int)Math.Min(ZeroesBytes, inside.EndBytes - atBytes);
            Write(atBytes, Zeroes.AsSpan(0, pieceBytes));
            atBytes += pieceBytes;
        }
    }

    /// <inheritdoc cref="Discard(BlockRange)"/>
    /// <param name="range">What to free.</param>
    /// <param name="isLengthFixed">True when nobody makes the file longer; then its last block is freed too.</param>
    internal void Discard(BlockRange range, bool isLengthFixed)
    {
        BlockRange inside = CheckInside(range, "discard", out bool reachesEnd);
        long endBytes = reachesEnd ? inside.EndBytes : inside.EndBytes & -FileExtents.BlockBytes;
        BlockRange blocks = BlockRange.FromEnds(BlockRange.RoundUp(inside.OffsetBytes, FileExtents.BlockBytes), endBytes);
        if (!blocks.IsEmpty)
        {
            _ = _extents.TryFree(blocks, isLengthFixed && reachesEnd, "discard");
        }
    }

    private BlockRange CheckInside(BlockRange range, string operation, out bool reachesEnd)
    {
        CheckChange(range.OffsetBytes, range.LengthBytes, operation);
        BlockRange file = new(0, LengthBytes);
        reachesEnd = range.EndBytes >= file.EndBytes;
        return range.Intersect(file);
    }

    private void CheckChange(long offsetBytes, long lengthBytes, string operation)
    {
        _ = new BlockRange(offsetBytes, lengthBytes);
        if (IsReadOnly)
        {
            throw FileErrors.ReadOnly(PresentPath, operation);
        }

        if (_length.Cut is { } cut)
        {
            throw cut;
        }
    }
}
