// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Fleece.Block.CopyBeforeWrite;

/// <summary>A half-open run of granule indexes.</summary>
internal readonly record struct GranuleRun(long Start, long End)
{
    public long Count => End - Start;

    public bool IsEmpty => End <= Start;

    public bool Overlaps(GranuleRun other) => Start < other.End && other.Start < End;
}

/// <summary>How a disk is divided into granules. The last granule may be shorter than the others.</summary>
internal sealed class Granules
{
    /// <summary>Smallest granule: one sector.</summary>
    public const int MinimumSizeBytes = 512;

    /// <summary>Largest granule: the largest qcow2 cluster.</summary>
    public const int MaximumSizeBytes = 2 * 1024 * 1024;

    /// <summary>Granule indexes fit 40 bits, so that a run fits one atomically written word (see FrozenReads).</summary>
    public const long MaximumCount = 1L << 40;

    private readonly int _shift;

    public Granules(long diskLengthBytes, int sizeBytes)
    {
        BlockRange.CheckPowerOfTwo(sizeBytes, MinimumSizeBytes, MaximumSizeBytes, "The granule size");
        DiskLengthBytes = diskLengthBytes;
        SizeBytes = sizeBytes;
        _shift = BitOperations.Log2((uint)sizeBytes);
        Count = (diskLengthBytes >> _shift) + ((diskLengthBytes & (sizeBytes - 1)) == 0 ? 0 : 1);
        if (Count > MaximumCount)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A disk of {diskLengthBytes} bytes has more than {MaximumCount} granules of {sizeBytes} bytes; choose a " +
                "larger granule size.");
        }
    }

    public long DiskLengthBytes { get; }

    public int SizeBytes { get; }

    public long Count { get; }

    public GranuleRun All => new(0, Count);

    /// <summary>The granules that hold at least one byte of the range.</summary>
    public GranuleRun Cover(long offsetBytes, long lengthBytes) =>
        lengthBytes == 0
            ? default
            : new GranuleRun(offsetBytes >> _shift, ((offsetBytes + lengthBytes - 1) >> _shift) + 1);

    /// <summary>
    /// The granules that lie wholly in the range; the disk's last, partial granule counts as whole when the range
    /// reaches the end of the disk (I7).
    /// </summary>
    public GranuleRun Within(BlockRange range)
    {
        long start = (range.OffsetBytes >> _shift) + ((range.OffsetBytes & (SizeBytes - 1)) == 0 ? 0 : 1);
        long end = range.EndBytes >= DiskLengthBytes ? Count : range.EndBytes >> _shift;
        return new GranuleRun(start, Math.Max(start, end));
    }

    /// <summary>The bytes of a run, cut at the end of the disk.</summary>
    public BlockRange Bytes(GranuleRun run) =>
        BlockRange.FromEnds(run.Start << _shift, EndBytes(run.End));

    /// <summary>The offset behind the granule before <paramref name="end"/>, cut at the end of the disk.</summary>
    public long EndBytes(long end) => end >= Count ? DiskLengthBytes : end << _shift;

    /// <summary>The granule that holds a byte.</summary>
    public long IndexOf(long offsetBytes) => offsetBytes >> _shift;

    /// <summary>The bytes of a set of granules.</summary>
    public long BytesOf(GranuleMap map)
    {
        long missingBytes = Count != 0 && map.Contains(Count - 1) ? (Count << _shift) - DiskLengthBytes : 0;
        return (map.AddedCount << _shift) - missingBytes;
    }

    /// <summary>The bytes of the granules that are in a set and not in another.</summary>
    public long BytesOf(GranuleMap map, GranuleMap except)
    {
        long bytes = 0;
        for (long start = map.FirstIn(All); start < Count;)
        {
            GranuleRun run = new(start, map.FirstNotIn(All with { Start = start }));
            bytes += BytesOutside(run, except);
            start = map.FirstIn(All with { Start = run.End });
        }

        return bytes;
    }

    /// <summary>The bytes of those granules of a run that are not in a set.</summary>
    public long BytesOutside(GranuleRun run, GranuleMap except)
    {
        long bytes = 0;
        for (long start = except.FirstNotIn(run); start < run.End;)
        {
            GranuleRun counted = new(start, except.FirstIn(run with { Start = start }));
            bytes += Bytes(counted).LengthBytes;
            start = except.FirstNotIn(run with { Start = counted.End });
        }

        return bytes;
    }

    /// <summary>The gaps between ranges that are widened to whole granules.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.OutOfRange"/>.</exception>
    public IEnumerable<GranuleRun> Outside(IEnumerable<BlockRange> ranges)
    {
        List<GranuleRun> inside = [];
        foreach (BlockRange range in ranges)
        {
            range.CheckWithin(DiskLengthBytes, null, "limit the session to");
            if (!range.IsEmpty)
            {
                inside.Add(Cover(range.OffsetBytes, range.LengthBytes));
            }
        }

        inside.Sort(static (left, right) => left.Start.CompareTo(right.Start));
        long at = 0;
        foreach (GranuleRun run in inside)
        {
            if (run.Start > at)
            {
                yield return new GranuleRun(at, run.Start);
            }

            at = Math.Max(at, run.End);
        }

        if (at < Count)
        {
            yield return new GranuleRun(at, Count);
        }
    }
}
