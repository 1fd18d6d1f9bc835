// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.DiscUtils;

/// <summary>A part of a disk that is stored in one file, or nowhere.</summary>
/// <param name="Range">Where on the disk.</param>
/// <param name="Status">What all of it is, where there is no table.</param>
/// <param name="Table">The table that tells what is stored, or null.</param>
internal sealed record DiskPart(BlockRange Range, BlockStatus Status, UnitTable? Table)
{
    /// <summary>The run that begins at the range's start; the range begins in this part, and may reach beyond it.</summary>
    public BlockStatusRun GetStatus(BlockRange range)
    {
        BlockRange here = range.Intersect(Range);
        return Table?.GetStatus(Within(here)) ?? new BlockStatusRun(Status, here.LengthBytes);
    }

    /// <summary>Checks what the table knows of a range of the disk, of which this part may have nothing.</summary>
    public void CheckData(BlockRange range)
    {
        if (Table is not null && range.Overlaps(Range))
        {
            Table.CheckData(Within(range.Intersect(Range)));
        }
    }

    private BlockRange Within(BlockRange range) => new(range.OffsetBytes - Range.OffsetBytes, range.LengthBytes);
}
