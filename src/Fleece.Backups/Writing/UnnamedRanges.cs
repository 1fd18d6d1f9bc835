// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Block;

namespace Fleece.Backups.Writing;

/// <summary>Ranges that a target has stored and that are consumed when its backup has its name, because nothing else has them then.
/// </summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class UnnamedRanges
{
    private const int MergedFirstAt = 4096;

    private readonly Lock _lock = new();
    private readonly Dictionary<SnapshotRead, List<BlockRange>> _ranges = [];
    private int _mergedAt = MergedFirstAt;

    /// <summary>Adds the range of a stored chunk, and ends the chunk: its range stays in the snapshot.</summary>
    public void Add(SnapshotChunk chunk)
    {
        if (chunk.LengthBytes != 0)
        {
            lock (_lock)
            {
                Add(chunk.Source, new BlockRange(chunk.OffsetBytes, chunk.LengthBytes));
            }
        }

        chunk.EndTakenOver(isStored: false);
    }

    /// <summary>The backup has its name: what was added leaves the snapshot.</summary>
    public void Confirm()
    {
        lock (_lock)
        {
            foreach ((SnapshotRead read, List<BlockRange> ranges) in _ranges)
            {
                foreach (BlockRange range in RangeSet.Of(ranges).Ranges)
                {
                    read.Confirm(range);
                }
            }

            _ranges.Clear();
        }
    }

    // Chunks come nearly in order, so merged they are few.
    private void Add(SnapshotRead read, BlockRange range)
    {
        if (!_ranges.TryGetValue(read, out List<BlockRange>? ranges))
        {
            ranges = [];
            _ranges.Add(read, ranges);
        }

        ranges.Add(range);
        if (ranges.Count >= _mergedAt)
        {
            _ranges[read] = [.. RangeSet.Of(ranges).Ranges];
            _mergedAt = Math.Max(MergedFirstAt, 2 * _ranges[read].Count);
        }
    }
}
