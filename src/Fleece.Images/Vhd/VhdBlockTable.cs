// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Why an entry of the block allocation table can't be used.</summary>
internal enum BlockFaultKind
{
    /// <summary>The block would not end within the file's content.</summary>
    BeyondEnd,

    /// <summary>The block would lie on the footer's copy, the header, the table or a parent locator.</summary>
    OnMetadata,

    /// <summary>Another block begins within this one, or this one within another.</summary>
    OnAnotherBlock,
}

/// <summary>An entry of the block allocation table that can't be used.</summary>
internal readonly record struct BlockFault(BlockFaultKind Kind, int Block, uint Sector)
{
    /// <summary>What is wrong, for messages.</summary>
    public string Describe(VhdHeader header, long contentEndBytes)
    {
        long offsetBytes = (long)Sector * VhdLimits.SectorBytes;
        string place = Kind switch
        {
            BlockFaultKind.BeyondEnd =>
                $"a block of {header.StrideBytes} bytes there does not end before {contentEndBytes}, where the file's content ends",
            BlockFaultKind.OnMetadata => "which lies on the image's own header or tables",
            _ => "where another block lies too",
        };
        return $"entry {Block} of the block allocation table is {Sector} (file offset {offsetBytes}), {place}";
    }
}

/// <summary>The block allocation table, whole in memory: where each block of the disk is in the file.</summary>
/// <remarks>
/// <para>Entries are 32-bit sector numbers, big-endian on disk, 0xffffffff where the block is not allocated ("Block Allocation
/// Table and Data Blocks"). A block never moves and is never given back while the image is open, so a number that was looked
/// up stays right.</para>
/// <para>Threading. Entries are read without a lock and set under the metadata lock.</para>
/// </remarks>
internal sealed class VhdBlockTable
{
    /// <summary>The block is not allocated.</summary>
    public const uint Free = uint.MaxValue;

    /// <summary>Stands, in memory only, for an entry that failed validation.</summary>
    public const uint Invalid = uint.MaxValue - 1;

    private readonly uint[] _sectors;

    private VhdBlockTable(uint[] sectors) => _sectors = sectors;

    /// <summary>Number of entries, with those behind the disk's last block.</summary>
    public int Count => _sectors.Length;

    public uint this[int block] => Volatile.Read(ref _sectors[block]);

    /// <summary>Reads the table as it is, with whatever it holds.</summary>
    public static VhdBlockTable Read(IContainerFile file, VhdHeader header)
    {
        uint[] sectors = new uint[header.MaxTableEntries];
        Span<byte> bytes = MemoryMarshal.AsBytes(sectors.AsSpan());
        file.Read(header.TableOffsetBytes, bytes);
        if (BitConverter.IsLittleEndian)
        {
            BinaryPrimitives.ReverseEndianness(sectors, sectors);
        }

        return new VhdBlockTable(sectors);
    }

    public void Set(int block, uint sector) => Volatile.Write(ref _sectors[block], sector);

    /// <summary>Blocks from one on that are not allocated.</summary>
    public int CountFree(int block, int most)
    {
        int found = _sectors.AsSpan(block, most).IndexOfAnyExcept(Free);
        return found < 0 ? most : found;
    }

    /// <summary>Finds the entries that can't be right; memory and time are bounded by the table's own size.</summary>
    public void FindFaults(VhdHeader header, long contentEndBytes, Action<BlockFault> onFault)
    {
        List<uint> starts = [];
        List<int> blocks = [];
        bool isSorted = true;
        for (int block = 0; block < _sectors.Length; block++)
        {
            uint sector = _sectors[block];
            if (sector == Free)
            {
                continue;
            }

            BlockRange range = new((long)sector * VhdLimits.SectorBytes, header.StrideBytes);
            if (range.EndBytes > contentEndBytes)
            {
                onFault(new BlockFault(BlockFaultKind.BeyondEnd, block, sector));
            }
            else if (IsReserved(header, range))
            {
                onFault(new BlockFault(BlockFaultKind.OnMetadata, block, sector));
            }
            else
            {
                isSorted &= starts.Count == 0 || starts[^1] < sector;
                starts.Add(sector);
                blocks.Add(block);
            }
        }

        FindOverlaps(CollectionsMarshal.AsSpan(starts), CollectionsMarshal.AsSpan(blocks), isSorted, header, onFault);
    }

    private static void FindOverlaps(
        Span<uint> starts, Span<int> blocks, bool isSorted, VhdHeader header, Action<BlockFault> onFault)
    {
        if (!isSorted)
        {
            starts.Sort(blocks);
        }

        long strideSectors = header.StrideBytes / VhdLimits.SectorBytes;
        for (int i = 0; i < starts.Length; i++)
        {
            bool overlapsPrevious = i > 0 && starts[i] - (long)starts[i - 1] < strideSectors;
            bool overlapsNext = i + 1 < starts.Length && starts[i + 1] - (long)starts[i] < strideSectors;
            if (overlapsPrevious || overlapsNext)
            {
                onFault(new BlockFault(BlockFaultKind.OnAnotherBlock, blocks[i], starts[i]));
            }
        }
    }

    private static bool IsReserved(VhdHeader header, BlockRange range)
    {
        foreach (BlockRange reserved in header.ReservedRanges)
        {
            if (range.Overlaps(reserved))
            {
                return true;
            }
        }

        return false;
    }
}
