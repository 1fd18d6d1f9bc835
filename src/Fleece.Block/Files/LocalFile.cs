// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>One open file of the local system, as long as it happens to be: what nodes and formats store bytes in.</summary>
/// <remarks>
/// <para>Positional I/O on one handle; every call completes before it returns. A file grows when something is written
/// behind its end; <see cref="FileNode"/> puts a fixed geometry over it.</para>
/// <para>Threading. All members are safe from any thread, and calls run in parallel as far as the system lets them;
/// <see cref="Dispose"/> only when no call is running.</para>
/// <para>Errors. <see cref="BlockException"/>; every error of the system is mapped by one table.</para>
/// <para>Ownership. While it is open for writing nobody else who asks the system for a lock can open the file; while it is
/// open for reading others can read it.</para>
/// </remarks>
public sealed class LocalFile : IDisposable
{
    // The smallest block in use. Where blocks are larger, a hole that is smaller than one zeroes and frees nothing.
    private const long HoleUnitBytes = 4096;
    private const int ZeroBlockBytes = 64 * 1024;

    private static readonly byte[] ZeroBlock = new byte[ZeroBlockBytes];

    private volatile bool _canPunchHoles;
    private volatile bool _canFindHoles = true;
    private volatile BlockException? _flushFailure;

    private LocalFile(string path, SafeFileHandle handle, bool isReadOnly)
    {
        Path = path;
        Handle = handle;
        IsReadOnly = isReadOnly;
        _canPunchHoles = PosixFile.HasPunchHole;
        if (OperatingSystem.IsWindows() && !isReadOnly)
        {
            _canPunchHoles = WindowsFile.TrySetSparse(handle);
        }
    }

    /// <summary>The full path of the file.</summary>
    public string Path { get; }

    /// <summary>True when it was opened for reading only.</summary>
    public bool IsReadOnly { get; }

    /// <summary>The handle, for locks and identity. I/O goes through this class.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>Opens a regular file that exists.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isReadOnly">Reads only, and lets others read; otherwise nobody else may open it.</param>
    /// <exception cref="BlockException">NotFound, NotAFile, InUse, PermissionDenied, InvalidArgument, IoFailed.</exception>
    public static LocalFile Open(string path, bool isReadOnly)
    {
        string fullPath = FullPath(path, "open");
        if (IsSpecialFile(fullPath))
        {
            throw FileErrors.NotAFile(fullPath);
        }

        FileAccess access = isReadOnly ? FileAccess.Read : FileAccess.ReadWrite;
        FileShare share = isReadOnly ? FileShare.Read : FileShare.None;
        try
        {
            return new LocalFile(fullPath, File.OpenHandle(fullPath, FileMode.Open, access, share), isReadOnly);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, fullPath, "open");
        }
    }

    /// <summary>Creates a sparse file that reads as zeros. A failure leaves nothing behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Its first length, 0 or more.</param>
    /// <exception cref="BlockException">
    /// AlreadyExists, NotFound (the folder), PermissionDenied, NoSpace, InvalidArgument, InvalidRange, IoFailed.
    /// </exception>
    public static LocalFile Create(string path, long lengthBytes)
    {
        BlockRange whole = new(0, lengthBytes);
        string fullPath = FullPath(path, "create");
        if (Directory.Exists(fullPath))
        {
            // Windows calls this "access denied", which would send people to look at permissions.
            throw FileErrors.From(new IOException("", FileErrors.FileExistsCode), fullPath, "create");
        }

        LocalFile file;
        try
        {
            SafeFileHandle handle =
                File.OpenHandle(fullPath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
            file = new LocalFile(fullPath, handle, isReadOnly: false);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, fullPath, "create");
        }

        try
        {
            file.SetLength(whole.EndBytes);
            return file;
        }
        catch (BlockException)
        {
            file.Remove();
            throw;
        }
    }

    /// <summary>The length of the file now.</summary>
    public long GetLength()
    {
        try
        {
            return RandomAccess.GetLength(Handle);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "query");
        }
    }

    /// <summary>Makes the file longer, with zeros and without storage, or shorter.</summary>
    public void SetLength(long lengthBytes)
    {
        CheckRange(0, lengthBytes);
        CheckWritable("resize", lengthBytes);
        try
        {
            RandomAccess.SetLength(Handle, lengthBytes);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "resize", lengthBytes);
        }
    }

    /// <summary>Reads as many bytes as the file holds there: fewer than asked only at its end.</summary>
    /// <returns>The number of bytes read, possibly 0.</returns>
    public int ReadUpTo(long offsetBytes, Span<byte> buffer)
    {
        CheckRange(offsetBytes, buffer.Length);
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

            return doneBytes;
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "read", offsetBytes);
        }
    }

    /// <summary>Fills the buffer; a file that ends before is <see cref="BlockErrorKind.Truncated"/>.</summary>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int doneBytes = ReadUpTo(offsetBytes, buffer);
        if (doneBytes < buffer.Length)
        {
            throw FileErrors.Truncated(Path, offsetBytes + doneBytes, buffer.Length - doneBytes);
        }
    }

    /// <summary>Stores all of the data, behind the end of the file too.</summary>
    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        CheckRange(offsetBytes, data.Length);
        CheckWritable("write", offsetBytes);
        try
        {
            RandomAccess.Write(Handle, data, offsetBytes);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "write", offsetBytes);
        }
    }

    /// <summary>
    /// Makes the part of the range that lies in the file read as zeros; the file does not grow. Storage is freed where the
    /// file system can, which Linux and Windows file systems mostly do; elsewhere (macOS) zeros are written.
    /// </summary>
    public void WriteZeroes(BlockRange range)
    {
        CheckWritable("write zeros to", range.OffsetBytes);
        long fileBytes = GetLength();
        BlockRange inside = range.Intersect(new BlockRange(0, fileBytes));
        if (inside.IsEmpty || TryPunchHole(inside, fileBytes, "write zeros to"))
        {
            return;
        }

        for (long atBytes = inside.OffsetBytes; atBytes < inside.EndBytes; atBytes += ZeroBlockBytes)
        {
            Write(atBytes, ZeroBlock.AsSpan(0, (int)Math.Min(ZeroBlockBytes, inside.EndBytes - atBytes)));
        }
    }

    /// <summary>
    /// Frees the whole 4 KiB blocks of the range, which then read as zeros; the bytes around them keep their content, and
    /// so does everything where the file system can't free. A range that reaches the end of the file takes the last,
    /// partial block with it. The length stays.
    /// </summary>
    public void Discard(BlockRange range)
    {
        CheckWritable("discard", range.OffsetBytes);
        long fileBytes = GetLength();
        BlockRange inside = range.Intersect(new BlockRange(0, fileBytes));
        long endBytes = inside.EndBytes == fileBytes ? fileBytes : inside.EndBytes & -HoleUnitBytes;
        BlockRange blocks = BlockRange.FromEnds(RoundUp(inside.OffsetBytes), endBytes);
        if (!blocks.IsEmpty)
        {
            _ = TryPunchHole(blocks, fileBytes, "discard");
        }
    }

    /// <summary>Makes everything written before durable.</summary>
    /// <remarks>
    /// After a failed flush nobody knows which of the cached writes are lost, and the system may report the next one as
    /// good. So the first failure stands until the file is opened again.
    /// </remarks>
    public void Flush()
    {
        if (IsReadOnly)
        {
            return;
        }

        if (_flushFailure is { } earlier)
        {
            throw new BlockException(earlier.Kind, earlier.Message, Path, operation: "flush", cause: earlier);
        }

        try
        {
            RandomAccess.FlushToDisk(Handle);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            _flushFailure = FileErrors.From(exception, Path, "flush");
            throw _flushFailure;
        }
    }

    /// <summary>
    /// What the file system says of the start of the range: data, or a hole (<see cref="BlockStatus.Unallocated"/>), and how
    /// far that goes within the range. Data where the file system can't tell, and behind the end of the file.
    /// </summary>
    public BlockStatusRun FindExtent(BlockRange range)
    {
        if (!_canFindHoles || range.IsEmpty)
        {
            return new BlockStatusRun(BlockStatus.Data, range.LengthBytes);
        }

        BlockRange data;
        bool isKnown = OperatingSystem.IsWindows()
            ? WindowsFile.TryFindAllocated(Handle, range, out data)
            : TryFindDataExtent(range, out data);
        if (!isKnown)
        {
            _canFindHoles = false;
            return new BlockStatusRun(BlockStatus.Data, range.LengthBytes);
        }

        if (data.IsEmpty)
        {
            // Holes are claimed only inside the file: one that has shrunk must fail its reads, not read as zeros.
            bool isInside = range.EndBytes <= GetLength();
            return new BlockStatusRun(isInside ? BlockStatus.Unallocated : BlockStatus.Data, range.LengthBytes);
        }

        return data.OffsetBytes > range.OffsetBytes
            ? new BlockStatusRun(BlockStatus.Unallocated, data.OffsetBytes - range.OffsetBytes)
            : new BlockStatusRun(BlockStatus.Data, data.LengthBytes);
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();

    // Unlinks under the lock where the system can, so that a file somebody else creates meanwhile is not hit.
    private void Remove()
    {
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.Delete(Path);
            }

            Dispose();
            if (OperatingSystem.IsWindows())
            {
                File.Delete(Path);
            }
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            // The caller is about to report why the file is of no use; that it also remains matters less.
            Dispose();
        }
    }

    // The first data extent that overlaps the range, cut to it.
    private bool TryFindDataExtent(BlockRange range, out BlockRange data)
    {
        data = default;
        if (!PosixFile.HasSeekHole || !PosixFile.TryFindData(Handle, range.OffsetBytes, out long startBytes))
        {
            return false;
        }

        if (startBytes < 0 || startBytes >= range.EndBytes)
        {
            return true;
        }

        if (startBytes > range.OffsetBytes)
        {
            // Where this extent ends does not matter yet, and finding out can be slow.
            data = BlockRange.FromEnds(startBytes, range.EndBytes);
            return true;
        }

        if (!PosixFile.TryFindHole(Handle, startBytes, out long endBytes))
        {
            return false;
        }

        // A hole may have been punched, or the file cut, between the two calls; some data is still what was seen.
        endBytes = endBytes <= startBytes ? startBytes + 1 : endBytes;
        data = BlockRange.FromEnds(startBytes, Math.Min(endBytes, range.EndBytes));
        return true;
    }

    private bool TryPunchHole(BlockRange range, long fileBytes, string operation)
    {
        if (!_canPunchHoles)
        {
            return false;
        }

        // The last, partial block of the file is freed only by a hole that covers all of it.
        long endBytes = range.EndBytes == fileBytes ? RoundUp(fileBytes) : range.EndBytes;
        long lengthBytes = endBytes - range.OffsetBytes;
        int code = OperatingSystem.IsWindows()
            ? WindowsFile.FreeRange(Handle, range.OffsetBytes, lengthBytes)
            : PosixFile.FreeRange(Handle, range.OffsetBytes, lengthBytes);
        if (code == 0)
        {
            return true;
        }

        bool isRefusal = OperatingSystem.IsWindows() ? WindowsFile.IsNotSupported(code) : PosixFile.IsNotSupported(code);
        if (!isRefusal)
        {
            throw FileErrors.FromCode(code, Path, operation, range.OffsetBytes);
        }

        _canPunchHoles = false;
        return false;
    }

    private static void CheckRange(long offsetBytes, long lengthBytes) => _ = new BlockRange(offsetBytes, lengthBytes);

    private static long RoundUp(long valueBytes) =>
        valueBytes > long.MaxValue - HoleUnitBytes ? valueBytes : (valueBytes + HoleUnitBytes - 1) & -HoleUnitBytes;

    private void CheckWritable(string operation, long offsetBytes)
    {
        if (IsReadOnly)
        {
            throw FileErrors.ReadOnly(Path, operation, offsetBytes);
        }
    }

    private static bool IsSpecialFile(string fullPath) => OperatingSystem.IsWindows()
        ? Directory.Exists(fullPath) || fullPath.StartsWith(@"\\.\", StringComparison.Ordinal)
        : PosixFile.IsSpecialFile(fullPath);

    private static string FullPath(string path, string operation)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return System.IO.Path.GetFullPath(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, operation);
        }
    }
}
