// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>The header of a VDI, checked before DiscUtils sizes its table and buffers by it.</summary>
/// <remarks>VirtualBox's VDICore.h, VDIHEADER1PLUS behind VDIPREHEADER: u32Version at 68, cbHeader 72, u32Type 76, offBlocks 340,
/// offData 344, cbDisk 368, cbBlock 376, cbBlockExtra 380, cBlocks 384; little-endian, bytes.</remarks>
internal sealed class VdiHeader
{
    private const uint Version = 0x00010001;
    private const uint DynamicType = 1;
    private const uint FixedType = 2;
    private const int MinimumHeaderBytes = 384;
    private const int MaximumHeaderBytes = 4096;
    private const int MaximumBlockBytes = 128 * 1024 * 1024;

    /// <summary>DiscUtils keeps the table in memory: 64 MiB at most, which are 16 TiB in VirtualBox's blocks of 1 MiB.</summary>
    private const uint MaximumBlocks = 16 * 1024 * 1024;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    public VdiHeader(LocalFile file)
    {
        ImageHeader header = new(file, 0);
        uint version = header.UInt32(68), type = header.UInt32(76), extraBytes = header.UInt32(380);
        if (version != Version || type is not (DynamicType or FixedType) || extraBytes != 0)
        {
            throw header.Fault(
                BlockErrors.Unsupported,
                $"has version {version >> 16}.{version & 0xffff}, type {type} and {extraBytes} extra bytes in a block; version 1.1 of " +
                "type 1 (dynamic) or 2 (fixed) without extra bytes is read",
                68);
        }

        uint headerBytes = header.UInt32(72), blockBytes = header.UInt32(376), blocks = header.UInt32(384);
        ulong diskBytes = header.UInt64(368);
        header.Require(headerBytes is >= MinimumHeaderBytes and <= MaximumHeaderBytes, "cbHeader", headerBytes, 72);
        header.Require(
            blockBytes is >= ImageHeader.SectorBytes and <= MaximumBlockBytes && BitOperations.IsPow2(blockBytes),
            "cbBlock",
            blockBytes,
            376);
        header.Require(
            diskBytes is > 0 and <= ImageHeader.MaximumDiskBytes
            && diskBytes % ImageHeader.SectorBytes == 0 && diskBytes <= (ulong)blocks * blockBytes,
            "cbDisk",
            diskBytes,
            368);
        uint tableOffsetBytes = header.UInt32(340), dataOffsetBytes = header.UInt32(344);
        ulong tableEndBytes = tableOffsetBytes + ((ulong)blocks * UnitTable.EntryBytes);
        header.Require(blocks <= MaximumBlocks && tableEndBytes <= (ulong)file.LengthBytes, "cBlocks", blocks, 384);
        header.Require(dataOffsetBytes >= tableEndBytes, "offData", dataOffsetBytes, 344);
        IsFixed = type == FixedType;
        Table = new BlockTable(file, tableOffsetBytes, blockBytes);
        DiskBytes = (long)diskBytes;
    }

    /// <summary>True when all blocks are stored.</summary>
    public bool IsFixed { get; }

    /// <summary>Size of the disk.</summary>
    public long DiskBytes { get; }

    /// <summary>Where its blocks are.</summary>
    public BlockTable Table { get; }
}
