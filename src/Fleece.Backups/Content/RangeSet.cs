// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Content;

/// <summary>Ranges of a disk, disjoint and in order.</summary>
/// <remarks>Threading. Not changed once it is made.</remarks>
internal sealed class RangeSet
{
    private readonly List<BlockRange> _ranges;

    private RangeSet(List<BlockRange> ranges) => _ranges = ranges;

    /// <summary>Without a range.</summary>
    public static RangeSet Empty { get; } = new([]);

    /// <summary>The ranges, none of them empty, no two of them touching.</summary>
    public IReadOnlyList<BlockRange> Ranges => _ranges;

    /// <summary>What is in any of the ranges, which may come in any order and overlap.</summary>
    public static RangeSet Of(IEnumerable<BlockRange> ranges)
    {
        List<BlockRange> merged = [];
        foreach (BlockRange range in ranges.Where(range => !range.IsEmpty).OrderBy(range => range.OffsetBytes))
        {
            if (merged.Count != 0 && range.OffsetBytes <= merged[^1].EndBytes)
            {
                merged[^1] = BlockRange.FromEnds(merged[^1].OffsetBytes, Math.Max(merged[^1].EndBytes, range.EndBytes));
            }
            else
            {
                merged.Add(range);
            }
        }

        return new RangeSet(merged);
    }

    /// <summary>The set with more in it.</summary>
    public RangeSet With(IEnumerable<BlockRange> ranges) => Of(_ranges.Concat(ranges));

    /// <summary>The parts of a range that are not in the set, in order.</summary>
    public IEnumerable<BlockRange> Without(BlockRange range)
    {
        long atBytes = range.OffsetBytes;
        for (int i = FirstEndingBehind(atBytes); i < _ranges.Count && _ranges[i].OffsetBytes < range.EndBytes; i++)
        {
            if (_ranges[i].OffsetBytes > atBytes)
            {
                yield return BlockRange.FromEnds(atBytes, _ranges[i].OffsetBytes);
            }

            atBytes = _ranges[i].EndBytes;
        }

        if (atBytes < range.EndBytes)
        {
            yield return BlockRange.FromEnds(atBytes, range.EndBytes);
        }
    }

    private int FirstEndingBehind(long offsetBytes)
    {
        int low = 0;
        int high = _ranges.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_ranges[middle].EndBytes <= offsetBytes)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }
}
