// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Frees ranges of one open file and tells which of them are stored, as far as the file system can.</summary>
/// <remarks>
/// <para>macOS frees ranges only through a variadic call that the framework can't make on every processor, so nothing
/// is freed there; where stored ranges lie is known there as on Linux.</para>
/// <para>A file system that refuses a call as unknown is not asked again.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class FileExtents
{
    // The smallest block in use. Where blocks are larger, a hole that is smaller than one zeroes and frees nothing.
    public const int BlockBytes = 4096;

    private readonly SafeFileHandle _handle;
    private readonly string _path;
    private volatile bool _canFree;
    private volatile bool _canZero;
    private volatile bool _canFind;

    /// <summary>Looks after a file that stays owned by the caller.</summary>
    public FileExtents(SafeFileHandle handle, string path, bool isReadOnly)
    {
        _handle = handle;
        _path = path;
        _canFree = !isReadOnly
            && (OperatingSystem.IsWindows() ? WindowsFile.TrySetSparse(handle) : PosixRanges.HasPunchHole);
        _canZero = !isReadOnly && PosixRanges.HasPunchHole;
        _canFind = OperatingSystem.IsWindows() || PosixRanges.HasSeekHole;
    }

    /// <summary>Frees a range inside the file; all of it reads as zeros afterwards, and the length stays.</summary>
    /// <param name="range">What to free, not empty.</param>
    /// <param name="takesLastBlock">
    /// True when the range ends where the file does and the file never grows. Then the rest of the last, partial block
    /// goes too, without which that block is not freed. In a file that grows it could hold what was just appended.
    /// </param>
    /// <param name="operation">What the error message calls this.</param>
    /// <returns>False, with nothing changed, when the file system can't.</returns>
    /// <exception cref="BlockException">As <see cref="FileErrors"/> maps the system's errors.</exception>
    public bool TryFree(BlockRange range, bool takesLastBlock, string operation)
    {
        if (!_canFree)
        {
            return false;
        }

        long endBytes = takesLastBlock ? BlockRange.RoundUp(range.EndBytes, BlockBytes) : range.EndBytes;
        long lengthBytes = endBytes - range.OffsetBytes;
        int code = OperatingSystem.IsWindows()
            ? WindowsFile.FreeRange(_handle, range.OffsetBytes, lengthBytes)
            : PosixRanges.FreeRange(_handle, range.OffsetBytes, lengthBytes);
        return _canFree = IsDone(code, range, operation);
    }

    /// <summary>Makes a range inside the file read as zeros without writing them, and frees it if it can.</summary>
    /// <inheritdoc cref="TryFree"/>
    public bool TryZero(BlockRange range, bool takesLastBlock, string operation)
    {
        if (TryFree(range, takesLastBlock, operation))
        {
            return true;
        }

        if (!_canZero)
        {
            return false;
        }

        int errno = PosixRanges.ZeroRange(_handle, range.OffsetBytes, range.LengthBytes);
        return _canZero = IsDone(errno, range, operation);
    }

    /// <summary>
    /// The first stored run that overlaps the range, cut to it; empty when none does. Where the range starts in a hole
    /// only the start of the run counts: looking for its end can be slow.
    /// </summary>
    /// <returns>False when the file system can't tell.</returns>
    public bool TryFindStored(BlockRange range, out BlockRange stored)
    {
        stored = default;
        if (!_canFind)
        {
            return false;
        }

        _canFind = OperatingSystem.IsWindows()
            ? WindowsFile.TryFindAllocated(_handle, range, out stored)
            : TrySeekStored(range, out stored);
        return _canFind;
    }

    // False when the file system does not know the call, which no later call will change.
    private bool IsDone(int code, BlockRange range, string operation)
    {
        if (code == 0)
        {
            return true;
        }

        bool isUnknown = OperatingSystem.IsWindows()
            ? WindowsFile.IsNotSupported(code)
            : LibC.IsNotSupported(code);
        return isUnknown ? false : throw FileErrors.FromCode(code, _path, operation, range.OffsetBytes);
    }

    private bool TrySeekStored(BlockRange range, out BlockRange stored)
    {
        stored = default;
        if (!PosixRanges.TryFindData(_handle, range.OffsetBytes, out long startBytes))
        {
            return false;
        }

        if (startBytes < 0 || startBytes >= range.EndBytes)
        {
            return true;
        }

        long endBytes = range.EndBytes;
        if (startBytes == range.OffsetBytes)
        {
            if (!PosixRanges.TryFindHole(_handle, startBytes, out endBytes))
            {
                return false;
            }

            // The data may be gone since the first call. "Data" for one byte too many is allowed, so no second look.
            endBytes = Math.Max(endBytes, startBytes + 1);
        }

        stored = BlockRange.FromEnds(startBytes, Math.Min(endBytes, range.EndBytes));
        return true;
    }
}
