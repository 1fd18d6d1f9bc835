// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Frees ranges of one open file and tells which of them are stored, as far as the file system can.</summary>
/// <remarks>
/// <para>macOS frees only whole blocks and through a variadic call that the framework can't make on every processor, so
/// ranges are not freed there; where stored ranges lie is known there as on Linux.</para>
/// <para>A file system that refuses a call as unknown is not asked again.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class FileExtents
{
    // What is said to be data when the file system contradicts itself because the file changes under the question.
    private const long UncertainDataBytes = 4096;

    private readonly SafeFileHandle _handle;
    private readonly string _path;
    private readonly long _lengthBytes;
    private readonly DataExtentCache _cache = new();
    private volatile bool _canFree;
    private volatile bool _canZero;
    private volatile bool _canFind;

    /// <summary>Looks after a file that stays owned by the caller.</summary>
    /// <param name="handle">The open file.</param>
    /// <param name="path">What messages call it.</param>
    /// <param name="lengthBytes">Size of the disk; no answer reaches beyond it.</param>
    /// <param name="isReadOnly">True when the handle can't write.</param>
    public FileExtents(SafeFileHandle handle, string path, long lengthBytes, bool isReadOnly)
    {
        _handle = handle;
        _path = path;
        _lengthBytes = lengthBytes;
        bool isWindows = OperatingSystem.IsWindows();
        _canFree = !isReadOnly && (isWindows ? WindowsFile.TrySetSparse(handle) : PosixFile.HasPunchHole);
        _canZero = !isReadOnly && PosixFile.HasPunchHole;
        _canFind = isWindows || PosixFile.HasSeekHole;
    }

    /// <summary>Gives the range back to the file system. Every byte of it reads as zero afterwards.</summary>
    /// <returns>False, with nothing changed, when the file system can't.</returns>
    /// <exception cref="BlockException">As <see cref="FileErrors"/> maps the system's errors.</exception>
    public bool TryFree(BlockRange range, string operation)
    {
        if (!_canFree)
        {
            return false;
        }

        bool isWindows = OperatingSystem.IsWindows();
        int error = isWindows
            ? WindowsFile.FreeRange(_handle, range.OffsetBytes, range.LengthBytes)
            : PosixFile.FreeRange(_handle, range.OffsetBytes, range.LengthBytes);
        _cache.Cut(range);
        if (error == 0)
        {
            return true;
        }

        if (isWindows ? WindowsFile.IsNotSupported(error) : PosixFile.IsNotSupported(error))
        {
            _canFree = false;
            return false;
        }

        throw FileErrors.FromCode(error, _path, operation, range.OffsetBytes);
    }

    /// <summary>Zeroes the range without writing zeros, and frees it where the file system can.</summary>
    /// <inheritdoc cref="TryFree"/>
    public bool TryZero(BlockRange range, string operation)
    {
        if (TryFree(range, operation))
        {
            return true;
        }

        if (!_canZero)
        {
            return false;
        }

        int error = PosixFile.ZeroRange(_handle, range.OffsetBytes, range.LengthBytes);
        _cache.Cut(range);
        if (error == 0)
        {
            return true;
        }

        if (PosixFile.IsNotSupported(error))
        {
            _canZero = false;
            return false;
        }

        throw FileErrors.FromCode(error, _path, operation, range.OffsetBytes);
    }

    /// <summary>The status of the run at the start of a range that is not empty.</summary>
    /// <exception cref="BlockException">The size of the file can't be read.</exception>
    public BlockStatusRun GetStatus(BlockRange range)
    {
        long knownBytes = _cache.FindDataBytes(range.OffsetBytes, out long generation);
        if (knownBytes > 0)
        {
            return Run(BlockStatus.Data, range, knownBytes);
        }

        if (!_canFind)
        {
            return Run(BlockStatus.Data, range, range.LengthBytes);
        }

        return OperatingSystem.IsWindows() ? AskWindows(range) : AskPosix(range, generation);
    }

    private static BlockStatusRun Run(BlockStatus status, BlockRange range, long lengthBytes) =>
        new(status, Math.Min(lengthBytes, range.LengthBytes));

    private BlockStatusRun AskPosix(BlockRange range, long generation)
    {
        if (!PosixFile.TryFindData(_handle, range.OffsetBytes, out long dataBytes))
        {
            _canFind = false;
            return Run(BlockStatus.Data, range, range.LengthBytes);
        }

        if (dataBytes < 0)
        {
            return Hole(range, _lengthBytes);
        }

        if (dataBytes > range.OffsetBytes)
        {
            return Hole(range, dataBytes);
        }

        if (!PosixFile.TryFindHole(_handle, range.OffsetBytes, out long holeBytes))
        {
            _canFind = false;
            return Run(BlockStatus.Data, range, range.LengthBytes);
        }

        if (holeBytes <= range.OffsetBytes)
        {
            return Run(BlockStatus.Data, range, UncertainDataBytes);
        }

        BlockRange extent = BlockRange.FromEnds(range.OffsetBytes, Math.Min(holeBytes, _lengthBytes));
        _cache.Store(extent, generation);
        return Run(BlockStatus.Data, range, extent.LengthBytes);
    }

    private BlockStatusRun AskWindows(BlockRange range)
    {
        if (!WindowsFile.TryFindAllocated(_handle, range, out BlockRange allocated))
        {
            _canFind = false;
            return Run(BlockStatus.Data, range, range.LengthBytes);
        }

        if (allocated.IsEmpty)
        {
            return Hole(range, range.EndBytes);
        }

        return allocated.OffsetBytes > range.OffsetBytes
            ? Hole(range, allocated.OffsetBytes)
            : Run(BlockStatus.Data, range, allocated.LengthBytes);
    }

    // Behind the end of a file that something has shortened there is no hole: a read there fails, and so the answer must
    // not be one that spares the reader the read.
    private BlockStatusRun Hole(BlockRange range, long endBytes)
    {
        long fileEndBytes = Math.Min(endBytes, RandomAccess.GetLength(_handle));
        return fileEndBytes > range.OffsetBytes
            ? Run(BlockStatus.Unallocated, range, fileEndBytes - range.OffsetBytes)
            : Run(BlockStatus.Data, range, range.LengthBytes);
    }
}
