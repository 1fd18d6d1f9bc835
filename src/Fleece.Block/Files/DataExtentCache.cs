// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>Remembers the last extent of data that the file system named.</summary>
/// <remarks>
/// <para>Looking for the next hole costs time in proportion to the data before it on some file systems (70 ms for 4 GiB
/// on tmpfs), and a walk that is answered piece by piece would pay that for every piece.</para>
/// <para>An extent of data shrinks only through discards and zeroing by the node that owns the cache, because it holds
/// the file locked. Those cut the extent and raise the generation, so that a search that began before them can't bring
/// the freed part back. A stale answer would say data for zeros, which is allowed, never zeros for data.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class DataExtentCache
{
    private readonly Lock _lock = new();
    private BlockRange _extent;
    private long _generation;

    /// <summary>Bytes of data from the offset to the end of the extent, or 0 when it is not in the extent.</summary>
    /// <param name="offsetBytes">Where the question starts.</param>
    /// <param name="generation">To be handed to <see cref="Store"/> with what a search that starts now finds.</param>
    public long FindDataBytes(long offsetBytes, out long generation)
    {
        lock (_lock)
        {
            generation = _generation;
            return offsetBytes >= _extent.OffsetBytes ? Math.Max(0, _extent.EndBytes - offsetBytes) : 0;
        }
    }

    /// <summary>Remembers an extent unless something was freed since its search began.</summary>
    public void Store(BlockRange extent, long generation)
    {
        lock (_lock)
        {
            if (generation == _generation)
            {
                _extent = extent;
            }
        }
    }

    /// <summary>Forgets a range that has just been freed, and keeps the longer piece of what is left.</summary>
    public void Cut(BlockRange freed)
    {
        lock (_lock)
        {
            _generation++;
            if (!_extent.Overlaps(freed))
            {
                return;
            }

            BlockRange before = BlockRange.FromEnds(_extent.OffsetBytes, freed.OffsetBytes);
            BlockRange behind = BlockRange.FromEnds(freed.EndBytes, _extent.EndBytes);
            _extent = before.LengthBytes > behind.LengthBytes ? before : behind;
        }
    }
}
