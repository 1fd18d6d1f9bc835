// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Fleece.Block;

/// <summary>A checked, half-open byte range. All range arithmetic of the engine lives here (rule R3).</summary>
/// <remarks>Construction refuses negative numbers and ends beyond <see cref="long.MaxValue"/> with
/// <see cref="BlockErrors.InvalidRange"/>, so every other member can add without overflow.</remarks>
public readonly record struct BlockRange
{
    /// <summary>Makes a range of <paramref name="lengthBytes"/> bytes at <paramref name="offsetBytes"/>.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidRange"/></exception>
    public BlockRange(long offsetBytes, long lengthBytes)
    {
        if (offsetBytes < 0 || lengthBytes < 0 || offsetBytes > long.MaxValue - lengthBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidRange,
                $"The range of {lengthBytes} bytes at offset {offsetBytes} is not a range: offset and length must be " +
                "0 or more and their sum must fit 63 bits.",
                offsetBytes: offsetBytes);
        }

        OffsetBytes = offsetBytes;
        LengthBytes = lengthBytes;
    }

    /// <summary>First byte.</summary>
    public long OffsetBytes { get; }

    /// <summary>Number of bytes.</summary>
    public long LengthBytes { get; }

    /// <summary>First byte behind the range.</summary>
    public long EndBytes => OffsetBytes + LengthBytes;

    /// <summary>True when the range holds no byte.</summary>
    public bool IsEmpty => LengthBytes == 0;

    /// <summary>The range between two offsets; empty when they are in the wrong order.</summary>
    public static BlockRange FromEnds(long startBytes, long endBytes) =>
        new(startBytes, Math.Max(0, endBytes - startBytes));

    /// <summary>The next multiple of a power of two, or the value where there is none below 2^63.</summary>
    public static long RoundUp(long valueBytes, int unitBytes) =>
        valueBytes > long.MaxValue - unitBytes ? valueBytes : (valueBytes + unitBytes - 1) & -(long)unitBytes;

    /// <summary>True when at least one byte is in both ranges.</summary>
    public bool Overlaps(BlockRange other) =>
        OffsetBytes < other.EndBytes && other.OffsetBytes < EndBytes && !IsEmpty && !other.IsEmpty;

    /// <summary>True when every byte of <paramref name="other"/> is in this range.</summary>
    public bool Contains(BlockRange other) => other.OffsetBytes >= OffsetBytes && other.EndBytes <= EndBytes;

    /// <summary>The bytes that are in both ranges, possibly none.</summary>
    public BlockRange Intersect(BlockRange other) =>
        FromEnds(Math.Max(OffsetBytes, other.OffsetBytes), Math.Min(EndBytes, other.EndBytes));

    /// <summary>Throws <see cref="BlockErrors.OutOfRange"/> unless the range lies within a disk of that size.</summary>
    public void CheckWithin(long diskLengthBytes, string? path, string operation)
    {
        if (EndBytes > diskLengthBytes)
        {
            throw new BlockException(
                BlockErrors.OutOfRange,
                $"Cannot {operation} {LengthBytes} bytes at offset {OffsetBytes}: the disk ends at {diskLengthBytes} bytes.",
                path,
                OffsetBytes,
                operation);
        }
    }

    /// <summary>Throws <see cref="BlockErrors.Misaligned"/> unless both ends are multiples of the alignment.</summary>
    public void CheckAlignment(int alignmentBytes, string? path, string operation)
    {
        if (((OffsetBytes | LengthBytes) & (alignmentBytes - 1)) != 0)
        {
            throw new BlockException(
                BlockErrors.Misaligned,
                $"Cannot {operation} {LengthBytes} bytes at offset {OffsetBytes}: the disk, or the export, takes multiples of " +
                $"{alignmentBytes} bytes.",
                path,
                OffsetBytes,
                operation);
        }
    }

    /// <summary>Throws <see cref="BlockErrors.InvalidArgument"/> unless the value is a power of two in the bounds.</summary>
    public static void CheckPowerOfTwo(long valueBytes, long minimumBytes, long maximumBytes, string name)
    {
        if (!BitOperations.IsPow2(valueBytes) || valueBytes < minimumBytes || valueBytes > maximumBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"{name} is {valueBytes}; it must be a power of two from {minimumBytes} to {maximumBytes} bytes.");
        }
    }
}
