// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>The grain directory and tables of a sparse extent.</summary>
/// <remarks>VMware's Virtual Disk Format 5.0, "Hosted Sparse Extents": entries are sectors of the file, and 0 is a table or grain
/// that is not stored. A compressed grain begins with its marker: 8 bytes of position, then the size of what follows.</remarks>
/// <param name="file">The extent's file.</param>
/// <param name="directoryOffsetBytes">Where the directory begins in it.</param>
/// <param name="grainBytes">Size of a grain, in bytes.</param>
/// <param name="isCompressed">True when each grain is deflated, behind a marker.</param>
internal sealed class GrainTables(LocalFile file, long directoryOffsetBytes, long grainBytes, bool isCompressed) : UnitTable(grainBytes)
{
    private const int MarkerBytes = 12;
    private const int MarkerSizeOffsetBytes = 8;

    /// <summary>True when grains are deflated.</summary>
    public bool IsCompressed => isCompressed;

    protected override bool IsStored(uint entry) => entry != 0;

    protected override void ReadEntries(long firstUnit, Span<uint> entries)
    {
        Span<uint> table = stackalloc uint[1];
        Read(directoryOffsetBytes + (firstUnit / EntriesAtOnce * EntryBytes), table);
        if (table[0] == 0)
        {
            entries.Clear();
            return;
        }

        Read((long)table[0] * ImageHeader.SectorBytes, entries);
    }

    /// <remarks>DiscUtils allocates what a marker says, up to 2 GiB, before it reads. Deflate makes a grain a little longer at
    /// most.</remarks>
    public override void CheckData(BlockRange range)
    {
        if (!isCompressed || range.IsEmpty)
        {
            return;
        }

        Span<uint> entries = stackalloc uint[EntriesAtOnce];
        Span<byte> marker = stackalloc byte[MarkerBytes];
        long lastUnit = (range.EndBytes - 1) / UnitBytes;
        long loaded = -1;
        for (long unit = range.OffsetBytes / UnitBytes; unit <= lastUnit; unit++)
        {
            long firstUnit = unit - (unit % EntriesAtOnce);
            if (firstUnit != loaded)
            {
                ReadEntries(firstUnit, entries);
                loaded = firstUnit;
            }

            long grainOffsetBytes = (long)entries[(int)(unit - firstUnit)] * ImageHeader.SectorBytes;
            if (grainOffsetBytes == 0)
            {
                continue;
            }

            file.Read(grainOffsetBytes, marker);
            uint sizeBytes = BinaryPrimitives.ReadUInt32LittleEndian(marker[MarkerSizeOffsetBytes..]);
            if (sizeBytes == 0 || sizeBytes > 2 * UnitBytes)
            {
                throw new BlockException(
                    ImageErrors.Corrupt,
                    $"The image '{file.Path}' has a compressed grain of {sizeBytes} bytes at offset {grainOffsetBytes}, and a grain " +
                    $"holds {UnitBytes}. Restore it from a copy.",
                    file.Path,
                    grainOffsetBytes,
                    "read");
            }
        }
    }

    private void Read(long offsetBytes, Span<uint> entries)
    {
        file.Read(offsetBytes, MemoryMarshal.AsBytes(entries));
        FromLittleEndian(entries);
    }
}
