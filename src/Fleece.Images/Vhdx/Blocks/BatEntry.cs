// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>What a BAT entry says of its block (MS-VHDX sections 2.5.1.1 and 2.5.1.2).</summary>
internal enum BlockState
{
    /// <summary>Nothing is stored: the parent shows through; without one the block reads as zeros.</summary>
    NotPresent = 0,

    /// <summary>The content means nothing; read as zeros.</summary>
    Undefined = 1,

    /// <summary>Zeros.</summary>
    Zero = 2,

    /// <summary>Discarded; read as zeros.</summary>
    Unmapped = 3,

    /// <summary>Discarded, in version 0.95 of the format.</summary>
    UnmappedOld = 5,

    /// <summary>All of the block is stored. Of a sector bitmap block: it is there.</summary>
    FullyPresent = 6,

    /// <summary>The sectors whose bits are set are stored; the parent shows through the others.</summary>
    PartiallyPresent = 7,
}

/// <summary>An entry of the BAT: bits 0 to 2 state, 3 to 19 reserved, 20 to 63 the block's offset in MiB.</summary>
internal readonly record struct BatEntry(ulong Value)
{
    private const ulong StateMask = 7;
    private const ulong OffsetMask = ~0UL << 20;

    public BatEntry(BlockState state, long offsetBytes)
        : this((ulong)state | (ulong)offsetBytes)
    {
    }

    public BlockState State => (BlockState)(Value & StateMask);

    /// <summary>Where the block is; also in states that store nothing an offset may be left.</summary>
    public long OffsetBytes => (long)(Value & OffsetMask);

    public bool IsPresent => State is BlockState.FullyPresent or BlockState.PartiallyPresent;

    public bool HasReservedBits => (Value & ~(StateMask | OffsetMask)) != 0 || (Value & StateMask) == 4;

    /// <summary>Why a block can't be where this says; null when it can.</summary>
    /// <param name="lengthBytes">The block's length.</param>
    /// <param name="fileBytes">The file's length.</param>
    /// <param name="ownRanges">Where the image has its own structures.</param>
    public string? FindMisplacement(long lengthBytes, long fileBytes, ReadOnlySpan<BlockRange> ownRanges)
    {
        if (OffsetBytes <= 0 || OffsetBytes > fileBytes - lengthBytes)
        {
            return $"is not within the file of {fileBytes} bytes";
        }

        BlockRange block = new(OffsetBytes, lengthBytes);
        foreach (BlockRange range in ownRanges)
        {
            if (block.Overlaps(range))
            {
                return $"overlaps the image's own structures at {range.OffsetBytes}";
            }
        }

        return null;
    }
}
