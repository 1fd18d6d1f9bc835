// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>Checks the header fields by which DiscUtils sizes its tables and buffers, before it does.</summary>
internal static class ForeignHeaders
{
    /// <summary>Largest disk, in bytes: 64 TiB, as VHDX.</summary>
    public const long MaximumDiskBytes = 64L << 40;

    private const int HeadBytes = 512;
    private const int SectorBytes = 512;
    private const int TableEntryBytes = 4;
    private const int MaximumGrainSectors = 65536;
    private const int EntriesPerGrainTable = 512;
    private const int MaximumVdiBlockBytes = 128 * 1024 * 1024;
    private const int MaximumVdiHeaderBytes = 4096;

    /// <summary>True when the file is a sparse extent, with its descriptor inside.</summary>
    public static bool IsSparseExtent(LocalFile file) => Head(file).AsSpan().StartsWith("KDMV"u8);

    /// <summary>Checks a sparse extent.</summary>
    /// <remarks>VMware's Virtual Disk Format 5.0, SparseExtentHeader: capacity at 12, grainSize at 20, descriptorSize at 36,
    /// numGTEsPerGT at 44; little-endian, sizes in sectors.</remarks>
    /// <returns>Its capacity in sectors.</returns>
    public static long CheckSparseExtent(LocalFile file)
    {
        byte[] head = Head(file);
        if (!head.AsSpan().StartsWith("KDMV"u8))
        {
            throw Fault(file, BlockErrorKind.Corrupt, "does not begin like a sparse extent", 0);
        }

        ulong capacity = BinaryPrimitives.ReadUInt64LittleEndian(head.AsSpan(12));
        ulong grain = BinaryPrimitives.ReadUInt64LittleEndian(head.AsSpan(20));
        ulong descriptor = BinaryPrimitives.ReadUInt64LittleEndian(head.AsSpan(36));
        uint entries = BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(44));
        Require(file, capacity is > 0 and <= (ulong)MaximumDiskBytes / SectorBytes, "capacity", capacity, 12);
        Require(file, grain is > 0 and <= MaximumGrainSectors && BitOperations.IsPow2(grain), "grainSize", grain, 20);
        Require(file, descriptor <= VmdkDescriptor.MaximumBytes / SectorBytes, "descriptorSize", descriptor, 36);
        Require(file, entries == EntriesPerGrainTable, "numGTEsPerGT", entries, 44);
        ulong tables = (capacity + (grain * entries) - 1) / (grain * entries);
        Require(file, tables * TableEntryBytes <= (ulong)file.LengthBytes, "capacity", capacity, 12);
        return (long)capacity;
    }

    /// <summary>Checks a VDI header.</summary>
    /// <remarks>VirtualBox's VDICore.h, VDIHEADER1PLUS behind VDIPREHEADER: u32Version at 68, cbHeader 72, u32Type 76, offBlocks 340,
    /// cbDisk 368, cbBlock 376, cbBlockExtra 380, cBlocks 384; little-endian, bytes.</remarks>
    /// <returns>True when the image is of the fixed type.</returns>
    public static bool CheckVdi(LocalFile file)
    {
        byte[] head = Head(file);
        uint At(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(offset));
        uint version = At(68), type = At(76), extra = At(380), blockBytes = At(376), blocks = At(384);
        if (version >> 16 != 1 || type is not (1 or 2) || extra != 0)
        {
            throw Fault(
                file,
                BlockErrorKind.Unsupported,
                $"has version {version >> 16}.{version & 0xffff}, type {type} and {extra} extra bytes in a block; version 1 of type 1 " +
                "(dynamic) or 2 (fixed) without extra bytes is read",
                68);
        }

        ulong diskBytes = BinaryPrimitives.ReadUInt64LittleEndian(head.AsSpan(368));
        Require(file, At(72) <= MaximumVdiHeaderBytes, "cbHeader", At(72), 72);
        Require(file, blockBytes is >= SectorBytes and <= MaximumVdiBlockBytes && BitOperations.IsPow2(blockBytes), "cbBlock", blockBytes, 376);
        Require(
            file,
            diskBytes is > 0 and <= (ulong)MaximumDiskBytes && diskBytes % SectorBytes == 0 && diskBytes <= (ulong)blocks * blockBytes,
            "cbDisk",
            diskBytes,
            368);
        Require(file, At(340) + ((ulong)blocks * TableEntryBytes) <= (ulong)file.LengthBytes, "cBlocks", blocks, 384);
        return type == 2;
    }

    private static byte[] Head(LocalFile file)
    {
        byte[] head = new byte[HeadBytes];
        _ = file.ReadUpTo(0, head);
        return head;
    }

    private static void Require(LocalFile file, bool isMet, string field, ulong value, int offsetBytes)
    {
        if (!isMet)
        {
            throw Fault(file, BlockErrorKind.Corrupt, $"has {field} {value}, which can't be", offsetBytes);
        }
    }

    private static BlockException Fault(LocalFile file, BlockErrorKind kind, string what, int offsetBytes) => new(
        kind, $"The image '{file.Path}' {what} (offset {offsetBytes}). Check it with 'qemu-img info', or restore it from a copy.",
        file.Path, offsetBytes, "open");
}
