// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>Space of the file for a block.</summary>
/// <param name="OffsetBytes">A multiple of 1 MiB.</param>
/// <param name="LengthBytes">A multiple of 1 MiB.</param>
/// <param name="IsZero">True when it reads as zeros.</param>
internal readonly record struct FreeSpace(long OffsetBytes, long LengthBytes, bool IsZero);

/// <summary>Which parts of the file hold nothing: found when the image was opened, freed since, or behind the end.</summary>
/// <remarks>
/// <para>The file ends behind the last block that is or was in use, or further out: it grows in steps.</para>
/// <para>Threading. Only under the metadata lock; <see cref="FileBytes"/> and <see cref="Zero"/> from any thread.</para>
/// </remarks>
internal sealed class FileSpace
{
    private readonly IContainerFile _file;
    private readonly Stack<FreeSpace> _free = new();
    private readonly long _firstFileBytes;
    private long _fileBytes;
    private long _endBytes;

    /// <summary>Takes the free space that a scan found; without a scan everything up to the end of the file is in
    /// use.</summary>
    public FileSpace(IContainerFile file, BatScan? scan, long blockBytes)
    {
        _file = file;
        _fileBytes = file.GetLength();
        _firstFileBytes = _fileBytes;
        _endBytes = scan?.EndBytes ?? VhdxFormat.RoundUpToMiB(_fileBytes);
        foreach ((long offsetBytes, long lengthBytes) in scan?.Gaps ?? [])
        {
            if (lengthBytes >= blockBytes)
            {
                _free.Push(new FreeSpace(offsetBytes, lengthBytes, IsZero: false));
            }
        }
    }

    /// <summary>By how much the file grows at least.</summary>
    public required long GrowthBytes { get; init; }

    /// <summary>Length of the file, with what it has grown in advance.</summary>
    public long FileBytes => Volatile.Read(ref _fileBytes);

    /// <summary>Takes space for a payload block; the file is longer when there was none.</summary>
    /// <remarks>A rest of a gap that is too short for a block is left to the next scan.</remarks>
    public FreeSpace Take(long lengthBytes)
    {
        if (_free.TryPop(out FreeSpace gap))
        {
            if (gap.LengthBytes >= 2 * lengthBytes)
            {
                _free.Push(gap with { OffsetBytes = gap.OffsetBytes + lengthBytes, LengthBytes = gap.LengthBytes - lengthBytes });
            }

            return gap with { LengthBytes = lengthBytes };
        }

        return TakeAtEnd(lengthBytes);
    }

    /// <summary>Takes space behind the last block: bitmap blocks go there and leave the gaps whole.</summary>
    public FreeSpace TakeAtEnd(long lengthBytes)
    {
        long offsetBytes = _endBytes;
        long endBytes = offsetBytes + lengthBytes;
        if (endBytes > _fileBytes)
        {
            long advanceBytes = VhdxFormat.RoundUpToMiB(_fileBytes) + GrowthBytes;
            long grownBytes = Math.Max(endBytes, Math.Min(advanceBytes, _file.MaximumLengthBytes));
            _file.SetLength(grownBytes);
            Volatile.Write(ref _fileBytes, grownBytes);
        }

        _endBytes = endBytes;
        return new FreeSpace(offsetBytes, lengthBytes, IsZero: offsetBytes >= _firstFileBytes);
    }

    /// <summary>Makes a part of the file read as zeros, and gives its storage back where the file system can.</summary>
    public void Zero(long offsetBytes, long lengthBytes) => _file.Zero(offsetBytes, lengthBytes);

    /// <summary>Takes back space that no entry points to, on disk as in memory.</summary>
    public void Give(FreeSpace space) => _free.Push(space);

    /// <summary>Cuts off what is free at the end of the file. No entry, in memory or on disk, may point there.</summary>
    public void TrimFile()
    {
        foreach (FreeSpace gap in _free.OrderByDescending(gap => gap.OffsetBytes))
        {
            if (gap.OffsetBytes + gap.LengthBytes != _endBytes)
            {
                break;
            }

            _endBytes = gap.OffsetBytes;
        }

        if (_endBytes < _fileBytes)
        {
            _file.SetLength(_endBytes);
            _fileBytes = _endBytes;
        }
    }
}
