// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>Where the BAT and the metadata are (MS-VHDX section 2.2.3).</summary>
/// <remarks>
/// <code>
///  0  4  signature "regi"       from 16, 32 bytes each:   0 16  guid
///  4  4  checksum                                        16  8  file_offset
///  8  4  entry_count                                     24  4  length
/// 12  4  reserved                                        28  4  bit 0: required
/// </code>
/// </remarks>
internal sealed record RegionTable(BlockRange Bat, BlockRange Metadata)
{
    public const uint Signature = 0x6967_6572;
    public const int EntryBytes = 32;
    public const int HeaderBytes = 16;

    private static readonly long[] CopyOffsetsBytes = [VhdxFormat.RegionTableOffsetBytes, VhdxFormat.RegionTableCopyOffsetBytes];

    /// <summary>Optional regions that Fleece does not know; what they hold is left alone.</summary>
    public IReadOnlyList<BlockRange> Others { get; private init; } = [];

    /// <summary>The copy that can't be read, or that differs from the one in use; null when both are whole.</summary>
    public long? DamagedCopyOffsetBytes { get; private init; }

    /// <exception cref="BlockException">Corrupt, Unsupported.</exception>
    public static RegionTable Read(IContainerFile file, VhdxHeader header)
    {
        byte[]? first = TryReadCopy(file, CopyOffsetsBytes[0]);
        byte[]? second = TryReadCopy(file, CopyOffsetsBytes[1]);
        byte[] bytes = first ?? second ?? throw FormatFault.Vhdx.Corrupt(
            file.Path,
            "neither of its two region tables has the signature 'regi' and the right checksum",
            VhdxFormat.RegionTableOffsetBytes);
        bool isSecondDamaged = second is null || !second.AsSpan().SequenceEqual(bytes);
        return Parse(file.Path, bytes, header) with
        {
            DamagedCopyOffsetBytes = first is null ? CopyOffsetsBytes[0] : isSecondDamaged ? CopyOffsetsBytes[1] : null,
        };
    }

    /// <summary>Writes the copy in use over the other one.</summary>
    public void RepairCopy(IContainerFile file)
    {
        if (DamagedCopyOffsetBytes is { } damagedBytes)
        {
            byte[] bytes = new byte[VhdxFormat.TableBytes];
            file.Read(CopyOffsetsBytes[damagedBytes == CopyOffsetsBytes[0] ? 1 : 0], bytes);
            file.Write(damagedBytes, bytes);
            file.Flush();
        }
    }

    private static byte[]? TryReadCopy(IContainerFile file, long offsetBytes)
    {
        byte[] bytes = new byte[VhdxFormat.TableBytes];
        file.Read(offsetBytes, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes) == Signature && VhdxFormat.IsSealed(bytes) ? bytes : null;
    }

    private static RegionTable Parse(string path, ReadOnlySpan<byte> bytes, VhdxHeader header)
    {
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (count > VhdxLimits.MaxTableEntries)
        {
            throw FormatFault.Vhdx.Corrupt(
                path, $"the region table's entry_count is {count}, {VhdxLimits.MaxTableEntries} is the most it can hold");
        }

        List<(string Name, BlockRange Range)> regions =
        [
            ("the headers", new BlockRange(0, VhdxFormat.MiB)),
            ("the log", new BlockRange(header.LogOffsetBytes, header.LogLengthBytes)),
        ];
        List<BlockRange> others = [];
        BlockRange? bat = null;
        BlockRange? metadata = null;
        CheckOverlaps(path, regions);
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = bytes.Slice(HeaderBytes + (i * EntryBytes), EntryBytes);
            Guid guid = new(entry[..16]);
            bool isRequired = (BinaryPrimitives.ReadUInt32LittleEndian(entry[28..]) & 1) != 0;
            if (guid != VhdxFormat.BatRegion && guid != VhdxFormat.MetadataRegion)
            {
                if (isRequired)
                {
                    throw FormatFault.Vhdx.Unsupported(path, $"it has the required region {guid}, which Fleece does not know");
                }

                regions.Add(($"the region {guid}", ReadRange(path, $"the region {guid}", entry)));
                CheckOverlaps(path, regions);
                others.Add(regions[^1].Range);
                continue;
            }

            bool isBat = guid == VhdxFormat.BatRegion;
            string name = isBat ? "the BAT region" : "the metadata region";
            regions.Add((name, ReadRange(path, name, entry)));
            CheckOverlaps(path, regions);
            if ((isBat ? bat : metadata) is not null)
            {
                throw FormatFault.Vhdx.Corrupt(path, $"its region table names {name} twice");
            }

            bat = isBat ? regions[^1].Range : bat;
            metadata = isBat ? metadata : regions[^1].Range;
        }

        return new RegionTable(
            bat ?? throw FormatFault.Vhdx.Corrupt(path, "its region table names no BAT region"),
            metadata ?? throw FormatFault.Vhdx.Corrupt(path, "its region table names no metadata region"))
        {
            Others = others,
        };
    }

    private static BlockRange ReadRange(string path, string name, ReadOnlySpan<byte> entry)
    {
        ulong offsetBytes = BinaryPrimitives.ReadUInt64LittleEndian(entry[16..]);
        long lengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(entry[24..]);
        if (offsetBytes is < VhdxFormat.MiB or > VhdxLimits.MaxFileBytes || offsetBytes % VhdxFormat.MiB != 0)
        {
            throw FormatFault.Vhdx.Corrupt(
                path, $"the file_offset of {name} is {offsetBytes}, it must be a multiple of 1 MiB behind the headers");
        }

        return lengthBytes == 0 || lengthBytes % VhdxFormat.MiB != 0
            ? throw FormatFault.Vhdx.Corrupt(path, $"the length of {name} is {lengthBytes}, it must be a multiple of 1 MiB")
            : new BlockRange((long)offsetBytes, lengthBytes);
    }

    private static void CheckOverlaps(string path, List<(string Name, BlockRange Range)> regions)
    {
        (string name, BlockRange range) = regions[^1];
        foreach ((string otherName, BlockRange other) in regions[..^1])
        {
            if (range.Overlaps(other))
            {
                throw FormatFault.Vhdx.Corrupt(
                    path,
                    $"{name} at {range.OffsetBytes} with {range.LengthBytes} bytes overlaps {otherName} at {other.OffsetBytes}");
            }
        }
    }
}
