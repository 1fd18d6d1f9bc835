// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Images.Tests.Crashes;

/// <summary>A part of an image's file, as the formats name them.</summary>
internal enum FileRegion
{
    /// <summary>Guest data, and tables that nothing leads to yet.</summary>
    Other,

    /// <summary>The header of qcow2, the two headers of VHDX, the footer's copy and the header of VHD.</summary>
    Header,

    /// <summary>The footer of VHD at the end of the file.</summary>
    Footer,

    /// <summary>The block allocation table of VHD and VHDX.</summary>
    BlockTable,

    /// <summary>The sector bitmap of a VHD block that the table on disk leads to.</summary>
    SectorBitmap,

    /// <summary>The log of VHDX.</summary>
    Log,

    RefcountTable,

    /// <summary>A refcount block that the refcount table leads to.</summary>
    RefcountBlock,

    /// <summary>The L1 table, or an L2 table that it leads to.</summary>
    Mapping,

    /// <summary>Not a place: zeros that are to free storage.</summary>
    Zeros,

    /// <summary>Not a place: the length of the file.</summary>
    Length,
}

/// <summary>Tells the region of a write.</summary>
internal static class FileRegions
{
    /// <summary>The region that a write changes.</summary>
    /// <param name="format">The image's format.</param>
    /// <param name="file">The file before the write.</param>
    /// <param name="offsetBytes">Where the write begins.</param>
    /// <param name="data">Its bytes.</param>
    public static FileRegion Find(ImageFormat format, byte[] file, long offsetBytes, ReadOnlySpan<byte> data) => format switch
    {
        ImageFormat.Qcow2 => FindQcow2(file, offsetBytes),
        ImageFormat.Vhd => FindVhd(file, offsetBytes, data),
        _ => FindVhdx(offsetBytes),
    };

    // The places of Fleece's own images.
    private static FileRegion FindVhdx(long offsetBytes) => offsetBytes switch
    {
        >= 64 * 1024 and < 192 * 1024 => FileRegion.Header,
        >= Vhdx.VhdxImages.LogOffsetBytes and < Vhdx.VhdxImages.MetadataOffsetBytes => FileRegion.Log,
        >= Vhdx.VhdxImages.BatOffsetBytes and < Vhdx.VhdxImages.BlocksOffsetBytes => FileRegion.BlockTable,
        _ => FileRegion.Other,
    };

    private static FileRegion FindVhd(byte[] file, long offsetBytes, ReadOnlySpan<byte> data)
    {
        const int TableOffsetBytes = 1536;
        uint entries = BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(512 + 28));
        if (offsetBytes < TableOffsetBytes)
        {
            return FileRegion.Header;
        }

        if (offsetBytes < TableOffsetBytes + (entries * sizeof(uint)))
        {
            return FileRegion.BlockTable;
        }

        // The blocks of these tests have so few sectors that a bitmap takes one.
        for (int i = 0; i < entries; i++)
        {
            if (BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(TableOffsetBytes + (i * sizeof(uint)))) * 512L == offsetBytes)
            {
                return FileRegion.SectorBitmap;
            }
        }

        return data.StartsWith("conectix"u8) ? FileRegion.Footer : FileRegion.Other;
    }

    private static FileRegion FindQcow2(byte[] file, long offsetBytes)
    {
        long clusterBytes = 1L << (int)Word(file, 20, sizeof(uint));
        long cluster = offsetBytes & -clusterBytes;
        long tableBytes = (long)Word(file, 56, sizeof(uint)) * clusterBytes;
        if (offsetBytes < clusterBytes)
        {
            return FileRegion.Header;
        }

        if (IsIn(offsetBytes, Word(file, 48, sizeof(ulong)), tableBytes))
        {
            return FileRegion.RefcountTable;
        }

        ulong l1OffsetBytes = Word(file, 40, sizeof(ulong));
        long l1Bytes = (long)Word(file, 36, sizeof(uint)) * sizeof(ulong);
        if (IsIn(offsetBytes, l1OffsetBytes, l1Bytes) || LeadsTo(file, (int)l1OffsetBytes, l1Bytes, cluster))
        {
            return FileRegion.Mapping;
        }

        bool isBlock = LeadsTo(file, (int)Word(file, 48, sizeof(ulong)), tableBytes, cluster);
        return isBlock ? FileRegion.RefcountBlock : FileRegion.Other;
    }

    private static bool LeadsTo(byte[] file, int tableOffsetBytes, long tableBytes, long clusterOffsetBytes)
    {
        const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;
        for (int at = tableOffsetBytes; at < tableOffsetBytes + tableBytes; at += sizeof(ulong))
        {
            if ((Word(file, at, sizeof(ulong)) & OffsetMask) == (ulong)clusterOffsetBytes)
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsIn(long offsetBytes, ulong startBytes, long lengthBytes) =>
        offsetBytes >= (long)startBytes && offsetBytes < (long)startBytes + lengthBytes;

    // Behind the end of the file there are zeros.
    private static ulong Word(byte[] file, int offsetBytes, int width)
    {
        if (offsetBytes + width > file.Length)
        {
            return 0;
        }

        ReadOnlySpan<byte> bytes = file.AsSpan(offsetBytes, width);
        return width == sizeof(ulong) ? BinaryPrimitives.ReadUInt64BigEndian(bytes) : BinaryPrimitives.ReadUInt32BigEndian(bytes);
    }
}
