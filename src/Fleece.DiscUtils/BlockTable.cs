// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>The block table of a VDI.</summary>
/// <remarks>VirtualBox's VDICore.h: VDI_IMAGE_BLOCK_FREE and VDI_IMAGE_BLOCK_ZERO are the two entries without data.</remarks>
/// <param name="file">The image.</param>
/// <param name="offsetBytes">Where the table begins in it.</param>
/// <param name="blockBytes">Size of a block, in bytes.</param>
internal sealed class BlockTable(LocalFile file, long offsetBytes, long blockBytes) : UnitTable(blockBytes)
{
    private const uint BlockZero = 0xfffffffe;

    protected override bool IsStored(uint entry) => entry < BlockZero;

    protected override void ReadEntries(long firstUnit, Span<uint> entries)
    {
        // The file may end with the table's last entry.
        _ = file.ReadUpTo(offsetBytes + (firstUnit * EntryBytes), MemoryMarshal.AsBytes(entries));
        FromLittleEndian(entries);
    }
}
