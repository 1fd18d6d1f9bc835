// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>A place in the file that holds a path to the parent ("Dynamic Disk Header Format", Parent Locator Entries).</summary>
/// <param name="Platform">How the path is written, four characters as a number.</param>
/// <param name="OffsetBytes">Where it is.</param>
/// <param name="LengthBytes">How long it is.</param>
internal readonly record struct VhdParentLocator(uint Platform, long OffsetBytes, long LengthBytes);

/// <summary>The header of dynamic and differencing images: where the blocks are, and who the parent is.</summary>
/// <remarks>
/// <para>Layout, big-endian ("Dynamic Disk Header Format"):</para>
/// <code>
///  0  8  cookie "cxsparse"             36  4  checksum
///  8  8  data offset, all ones         40 16  parent unique id
/// 16  8  table offset                  56  4  parent time stamp
/// 24  4  header version                64 512 parent unicode name, UTF-16 big-endian
/// 28  4  max table entries            576 192 8 parent locators: 4 platform, 4 space, 4 length, 4 reserved, 8 offset
/// 32  4  block size                   768 256 reserved
/// </code>
/// <para>A locator's space is in sectors by the specification and in bytes in the wild; nothing here depends on it.</para>
/// </remarks>
internal sealed record VhdHeader
{
    public const int LengthBytes = 1024;
    public const int ChecksumField = 36;
    public const int ParentNameField = 64;
    public const int ParentNameBytes = 512;
    public const int LocatorField = 576;
    public const int LocatorBytes = 24;
    public const int LocatorCount = 8;

    private const uint Version1 = 0x0001_0000;

    public static ReadOnlySpan<byte> Cookie => "cxsparse"u8;

    public required long OffsetBytes { get; init; }

    public required long TableOffsetBytes { get; init; }

    /// <summary>Entries of the BAT. Those behind the disk's last block may be in use too: programs that shrink a disk leave them.</summary>
    public required long MaxTableEntries { get; init; }

    /// <summary>Entries that the disk needs: its blocks.</summary>
    public required int BlockCount { get; init; }

    public required int BlockBytes { get; init; }

    public required Guid ParentId { get; init; }

    public required uint ParentTimestamp { get; init; }

    public required string ParentName { get; init; }

    public required IReadOnlyList<VhdParentLocator> Locators { get; init; }

    public int BlockBits => BitOperations.TrailingZeroCount(BlockBytes);

    /// <summary>A bit for each sector of the block, in whole sectors ("Block Allocation Table and Data Blocks").</summary>
    public int BitmapBytes => BitmapBytesOf(BlockBytes);

    /// <summary>What a block takes in the file.</summary>
    public long StrideBytes => BitmapBytes + (long)BlockBytes;

    /// <summary>Places in the file that no block may overlap.</summary>
    public IReadOnlyList<BlockRange> ReservedRanges { get; private init; } = [];

    /// <summary>The block that holds a disk offset.</summary>
    public int BlockOf(long offsetBytes) => (int)(offsetBytes >> BlockBits);

    /// <summary>Where a disk offset lies in its block.</summary>
    public int InBlock(long offsetBytes) => (int)(offsetBytes & (BlockBytes - 1));

    /// <summary>Bytes from a disk offset to the end of its block; at least 1.</summary>
    public int BytesLeftInBlock(long offsetBytes) => BlockBytes - InBlock(offsetBytes);

    public static int BitmapBytesOf(int blockBytes) =>
        ((blockBytes / VhdLimits.SectorBytes / 8) + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;

    /// <summary>Reads and validates the header; nothing is allocated by what the file claims.</summary>
    /// <exception cref="BlockException">Corrupt, Truncated, Unsupported; read errors.</exception>
    public static VhdHeader Read(IContainerFile file, VhdFooters footers)
    {
        string path = file.Path;
        long endBytes = footers.ContentEndBytes;
        ulong dataOffset = footers.Footer.DataOffset;
        if (dataOffset < VhdFooter.LengthBytes || dataOffset % VhdLimits.SectorBytes != 0 || dataOffset > long.MaxValue)
        {
            throw FormatFault.Vhd.Corrupt(path, $"the footer's data offset is {dataOffset}, not that of a header behind the first sector");
        }

        if (dataOffset > (ulong)Math.Max(0, endBytes - LengthBytes))
        {
            throw FormatFault.Vhd.Truncated(
                path, $"the footer's data offset is {dataOffset}, and the file of {footers.FileLengthBytes} bytes ends before the " +
                "header's 1024 bytes do");
        }

        byte[] bytes = new byte[LengthBytes];
        file.Read((long)dataOffset, bytes);
        CheckFraming(path, bytes, (long)dataOffset);
        VhdHeader header = Parse(path, bytes, (long)dataOffset, footers.Footer.SizeBytes);
        BlockRange table = header.CheckTable(path, endBytes);
        return header with { ReservedRanges = header.FindReserved(table, endBytes) };
    }

    private static void CheckFraming(string path, ReadOnlySpan<byte> bytes, long offsetBytes)
    {
        if (!bytes.StartsWith(Cookie))
        {
            throw FormatFault.Vhd.Corrupt(path, $"the header at {offsetBytes} has no cookie 'cxsparse'", offsetBytes);
        }

        uint stored = BinaryPrimitives.ReadUInt32BigEndian(bytes[ChecksumField..]);
        uint computed = VhdChecksum.Compute(bytes, ChecksumField);
        if (stored != computed)
        {
            throw FormatFault.Vhd.Corrupt(
                path, $"the header has the checksum 0x{stored:x8}, its bytes give 0x{computed:x8}", offsetBytes);
        }

        uint version = BinaryPrimitives.ReadUInt32BigEndian(bytes[24..]);
        if (version >> 16 != Version1 >> 16)
        {
            throw FormatFault.Vhd.Unsupported(path, $"its header version is 0x{version:x8}, Fleece handles 1.0 (0x00010000)");
        }
    }

    private static VhdHeader Parse(string path, ReadOnlySpan<byte> bytes, long offsetBytes, long sizeBytes)
    {
        uint blockBytes = BinaryPrimitives.ReadUInt32BigEndian(bytes[32..]);
        if (!BitOperations.IsPow2(blockBytes) || blockBytes < VhdLimits.SectorBytes || blockBytes > VhdLimits.MaxBlockBytes)
        {
            throw FormatFault.Vhd.Corrupt(
                path,
                $"the header's block size is {blockBytes}, it must be a power of two from {VhdLimits.SectorBytes} to " +
                $"{VhdLimits.MaxBlockBytes}",
                offsetBytes);
        }

        uint maxEntries = BinaryPrimitives.ReadUInt32BigEndian(bytes[28..]);
        long blocks = ((sizeBytes - 1) / blockBytes) + 1;
        if (maxEntries < blocks)
        {
            throw FormatFault.Vhd.Corrupt(
                path,
                $"the header's max table entries is {maxEntries}, a disk of {sizeBytes} bytes in blocks of {blockBytes} needs " +
                $"{blocks}",
                offsetBytes);
        }

        ulong tableOffset = BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]);
        if (tableOffset % VhdLimits.SectorBytes != 0 || tableOffset > long.MaxValue / 2)
        {
            throw FormatFault.Vhd.Corrupt(path, $"the header's table offset is {tableOffset}, not that of a sector", offsetBytes);
        }

        return new VhdHeader
        {
            OffsetBytes = offsetBytes,
            TableOffsetBytes = (long)tableOffset,
            MaxTableEntries = maxEntries,
            BlockCount = (int)Math.Min(blocks, int.MaxValue),
            BlockBytes = (int)blockBytes,
            ParentId = new Guid(bytes.Slice(40, 16), bigEndian: true),
            ParentTimestamp = BinaryPrimitives.ReadUInt32BigEndian(bytes[56..]),
            ParentName = ReadName(bytes.Slice(ParentNameField, ParentNameBytes)),
            Locators = ReadLocators(bytes),
        };
    }

    private static string ReadName(ReadOnlySpan<byte> bytes)
    {
        string name = Encoding.BigEndianUnicode.GetString(bytes);
        int end = name.IndexOf('\0', StringComparison.Ordinal);
        return end < 0 ? name : name[..end];
    }

    private static List<VhdParentLocator> ReadLocators(ReadOnlySpan<byte> bytes)
    {
        List<VhdParentLocator> locators = [];
        for (int i = 0; i < LocatorCount; i++)
        {
            ReadOnlySpan<byte> entry = bytes.Slice(LocatorField + (i * LocatorBytes), LocatorBytes);
            uint platform = BinaryPrimitives.ReadUInt32BigEndian(entry);
            uint lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(entry[8..]);
            ulong offsetBytes = BinaryPrimitives.ReadUInt64BigEndian(entry[16..]);
            if (platform != 0 && lengthBytes is > 0 and <= VhdLimits.MaxLocatorBytes && offsetBytes <= long.MaxValue / 2)
            {
                locators.Add(new VhdParentLocator(platform, (long)offsetBytes, lengthBytes));
            }
        }

        return locators;
    }

    private BlockRange CheckTable(string path, long endBytes)
    {
        BlockRange table = new(
            TableOffsetBytes,
            ((MaxTableEntries * sizeof(uint)) + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes);
        if (table.EndBytes > endBytes)
        {
            throw FormatFault.Vhd.Truncated(
                path,
                $"the header's table offset is {TableOffsetBytes} for {MaxTableEntries} entries, and the file's content ends at " +
                $"{endBytes}");
        }

        if (MaxTableEntries > VhdLimits.MaxTableEntries)
        {
            throw FormatFault.Vhd.Unsupported(
                path,
                $"its block allocation table has {MaxTableEntries} entries for blocks of {BlockBytes} bytes, " +
                $"{VhdLimits.MaxTableEntries} is the limit. Convert it to larger blocks");
        }

        if (table.Overlaps(new BlockRange(0, VhdFooter.LengthBytes)) || table.Overlaps(new BlockRange(OffsetBytes, LengthBytes)))
        {
            throw FormatFault.Vhd.Corrupt(
                path,
                $"the header's table offset is {TableOffsetBytes}, which puts the block allocation table over the footer's copy or " +
                $"the header at {OffsetBytes}");
        }

        return table;
    }

    private List<BlockRange> FindReserved(BlockRange table, long endBytes)
    {
        List<BlockRange> reserved = [new(0, VhdFooter.LengthBytes), new(OffsetBytes, LengthBytes), table];
        foreach (VhdParentLocator locator in Locators)
        {
            BlockRange range = new(
                locator.OffsetBytes, (locator.LengthBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes);
            if (range.EndBytes <= endBytes)
            {
                reserved.Add(range);
            }
        }

        return reserved;
    }
}
