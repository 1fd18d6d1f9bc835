// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;

namespace Fleece.DiscUtils;

/// <summary>Which units (grains of a VMDK, blocks of a VDI) of an extent are stored, told by the extent's own table.</summary>
/// <remarks>
/// <para>DiscUtils would list the runs of a whole disk at once, in memory that only the image bounds. Here a question reads
/// <see cref="TablesPerQuestion"/> pieces of the table at most, and keeps none of them.</para>
/// <para>Threading. No state; safe from any thread.</para>
/// </remarks>
/// <param name="unitBytes">Size of a unit, in bytes.</param>
internal abstract class UnitTable(long unitBytes)
{
    /// <summary>Entries that are read at once.</summary>
    public const int EntriesAtOnce = 512;

    /// <summary>Size of an entry, in bytes; little-endian in both formats.</summary>
    public const int EntryBytes = 4;

    private const int TablesPerQuestion = 4096;

    /// <summary>Size of a unit, in bytes.</summary>
    protected long UnitBytes { get; } = unitBytes;

    /// <summary>The run that begins at the range's start: data or unallocated.</summary>
    /// <param name="range">A range of the extent that is not empty; the caller has checked it.</param>
    /// <exception cref="BlockException">Truncated; read errors.</exception>
    public BlockStatusRun GetStatus(BlockRange range)
    {
        Span<uint> entries = stackalloc uint[EntriesAtOnce];
        bool? isRunStored = null;
        long endBytes = range.OffsetBytes;
        for (int tables = 0; endBytes < range.EndBytes && tables < TablesPerQuestion; tables++)
        {
            long unit = endBytes / UnitBytes;
            long firstUnit = unit - (unit % EntriesAtOnce);
            ReadEntries(firstUnit, entries);
            for (int index = (int)(unit - firstUnit); index < EntriesAtOnce && endBytes < range.EndBytes; index++)
            {
                bool isStored = IsStored(entries[index]);
                if (isStored != (isRunStored ??= isStored))
                {
                    return Run(isRunStored.Value);
                }

                endBytes = Math.Min(range.EndBytes, (firstUnit + index + 1) * UnitBytes);
            }
        }

        return Run(isRunStored!.Value);

        BlockStatusRun Run(bool isStored) =>
            new(isStored ? BlockStatus.Data : BlockStatus.Unallocated, endBytes - range.OffsetBytes);
    }

    /// <summary>Checks what lies before the data itself in a range, where DiscUtils would believe it.</summary>
    /// <param name="range">A range of the extent; the caller has checked it.</param>
    /// <exception cref="BlockException">Corrupt, Truncated; read errors.</exception>
    public virtual void CheckData(BlockRange range)
    {
    }

    /// <summary>Reads entries; those behind the extent's end may be anything.</summary>
    /// <param name="firstUnit">A multiple of <see cref="EntriesAtOnce"/>.</param>
    /// <param name="entries">Room for <see cref="EntriesAtOnce"/>.</param>
    protected abstract void ReadEntries(long firstUnit, Span<uint> entries);

    /// <summary>Turns entries as the file has them into numbers.</summary>
    protected static void FromLittleEndian(Span<uint> entries)
    {
        if (!BitConverter.IsLittleEndian)
        {
            BinaryPrimitives.ReverseEndianness(entries, entries);
        }
    }

    /// <summary>True when an entry leads to data.</summary>
    protected abstract bool IsStored(uint entry);
}
