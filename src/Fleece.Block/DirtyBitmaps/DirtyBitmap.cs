// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Block.DirtyBitmaps;

/// <summary>Which parts of a disk have changed: one bit for each unit of <see cref="GranularityBytes"/>.</summary>
/// <remarks>
/// <para>Bits are only ever added; emptying a bitmap means taking a new one. So they stand in a <see cref="GranuleMap"/>, whose uniform
/// regions cost a directory entry, and marking what is marked already costs one load without a lock. A new bit goes to the journal
/// first and into the map then, so whoever finds it in the map may rely on the journal.</para>
/// <para>Threading. All members are safe from any thread; searches see every bit whose marking has returned.</para>
/// <para>Errors. <see cref="BlockErrors.OutOfRange"/>. Marking never fails otherwise.</para>
/// </remarks>
internal sealed class DirtyBitmap
{
    /// <summary>The granularity a bitmap gets when nobody chooses: 2 MiB of bits at most for a disk of 1 TiB.</summary>
    public const long DefaultGranularityBytes = 64 * 1024;

    /// <summary>Smallest granularity: one sector.</summary>
    public const long MinimumGranularityBytes = 512;

    /// <summary>Largest granularity, QEMU's: 2 GiB.</summary>
    public const long MaximumGranularityBytes = 1L << 31;

    /// <summary>Most bits of a bitmap, QEMU's limit for what it loads from an image: 512 MiB of them.</summary>
    public const long MaximumBitCount = 1L << 32;

    // Bits of one page of the journal.
    private const int StepBits = IBitmapJournal.PageBytes * 8;

    private readonly SharedLock _lock = new();
    private readonly GranuleMap _map;
    private readonly IBitmapJournal? _journal;
    private readonly IFirstMarks? _watch;
    private readonly int _shift;

    /// <summary>Makes a bitmap without a bit.</summary>
    /// <param name="diskLengthBytes">Size of the disk, more than 0.</param>
    /// <param name="granularityBytes">512 B to 2 GiB, a power of two.</param>
    /// <param name="journal">Where bits survive the process; null for nowhere. It holds no bit yet.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public DirtyBitmap(long diskLengthBytes, long granularityBytes, IBitmapJournal? journal = null)
        : this(diskLengthBytes, granularityBytes, CountBits(diskLengthBytes, granularityBytes)) => _journal = journal;

    /// <summary>Makes a bitmap of a session's granules, which is never stored, so it has as many bits as a session's maps.</summary>
    /// <param name="granules">The granules.</param>
    /// <param name="watch">Hears of each change that marks a granule first.</param>
    public DirtyBitmap(Granules granules, IFirstMarks watch)
        : this(granules.DiskLengthBytes, granules.SizeBytes, granules.Count) => _watch = watch;

    private DirtyBitmap(long diskLengthBytes, long granularityBytes, long bitCount)
    {
        BitCount = bitCount;
        DiskLengthBytes = diskLengthBytes;
        GranularityBytes = granularityBytes;
        _shift = BitOperations.Log2((ulong)granularityBytes);
        _map = new GranuleMap(bitCount);
    }

    /// <summary>Size of the disk in bytes.</summary>
    public long DiskLengthBytes { get; }

    /// <summary>Bytes of the disk for one bit.</summary>
    public long GranularityBytes { get; }

    /// <summary>Number of bits, set or not; the last one may stand for less than a whole unit.</summary>
    public long BitCount { get; }

    /// <summary>Bytes that all the bits take.</summary>
    public long LengthInBytes => (BitCount + 7) / 8;

    /// <summary>Bytes of the disk that set bits stand for.</summary>
    public long DirtyBytes
    {
        get
        {
            long excessBytes = (BitCount << _shift) - DiskLengthBytes;
            long dirtyBytes = _map.AddedCount << _shift;
            return excessBytes != 0 && _map.Contains(BitCount - 1) ? dirtyBytes - excessBytes : dirtyBytes;
        }
    }

    /// <summary>How many bits a disk needs.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: no power of two in the bounds, or too many
    /// bits.</exception>
    public static long CountBits(long diskLengthBytes, long granularityBytes)
    {
        BlockRange.CheckPowerOfTwo(granularityBytes, MinimumGranularityBytes, MaximumGranularityBytes, "The bitmap's granularity");
        long count = diskLengthBytes / granularityBytes + (diskLengthBytes % granularityBytes == 0 ? 0 : 1);
        return count <= MaximumBitCount
            ? count
            : throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A bitmap with a granularity of {granularityBytes} bytes needs {count} bits for a disk of {diskLengthBytes} bytes, and " +
                $"{MaximumBitCount} is the limit. Choose a larger granularity.");
    }

    /// <summary>Sets the bits of every unit that holds a byte of the range.</summary>
    public void Mark(long offsetBytes, long lengthBytes)
    {
        if (lengthBytes == 0)
        {
            return;
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(DiskLengthBytes, null, "mark");
        GranuleRun run = new(offsetBytes >> _shift, (offsetBytes + lengthBytes - 1 >> _shift) + 1);
        if (_map.FirstNotIn(run) < run.End)
        {
            MarkNew(run);
        }
    }

    /// <summary>True when the unit that holds the byte is marked.</summary>
    public bool IsDirty(long offsetBytes)
    {
        new BlockRange(offsetBytes, 1).CheckWithin(DiskLengthBytes, null, "query");
        return _map.Contains(offsetBytes >> _shift);
    }

    /// <summary>The first marked range at or behind an offset, before an end, cut at both; empty when there is none.</summary>
    public BlockRange NextDirty(long offsetBytes, long endBytes)
    {
        BlockRange rest = BlockRange.FromEnds(offsetBytes, endBytes);
        rest.CheckWithin(DiskLengthBytes, null, "query");
        if (rest.IsEmpty)
        {
            return rest;
        }

        GranuleRun run = new(offsetBytes >> _shift, (endBytes - 1 >> _shift) + 1);
        long start = _map.FirstIn(run);
        if (start >= run.End)
        {
            return new BlockRange(endBytes, 0);
        }

        long end = _map.FirstNotIn(run with { Start = start });
        return BlockRange.FromEnds(start << _shift, Math.Min(end << _shift, DiskLengthBytes)).Intersect(rest);
    }

    /// <summary>The marked ranges, in order. Bits that are set meanwhile may or may not be among them.</summary>
    public IEnumerable<BlockRange> DirtyRanges()
    {
        BlockRange range = NextDirty(0, DiskLengthBytes);
        while (!range.IsEmpty)
        {
            yield return range;
            range = NextDirty(range.EndBytes, DiskLengthBytes);
        }
    }

    /// <summary>Marks everything that is marked in another bitmap of the same disk, widened to whole units.</summary>
    public void Merge(DirtyBitmap other)
    {
        ArgumentNullException.ThrowIfNull(other);
        foreach (BlockRange range in other.DirtyRanges())
        {
            Mark(range.OffsetBytes, range.LengthBytes);
        }
    }

    /// <summary>Sets bits that the journal holds already. Bits behind the last one are left out.</summary>
    /// <param name="firstByte">The byte of the bitmap that <paramref name="bytes"/> begins with.</param>
    /// <param name="bytes">The bits, as <see cref="IBitmapJournal.Page"/> says.</param>
    public void Load(long firstByte, ReadOnlySpan<byte> bytes)
    {
        using (_lock.EnterScope())
        {
            long at = firstByte * 8;
            long end = Math.Min(BitCount, at + bytes.Length * 8L);
            while (at < end)
            {
                long start = FindBit(bytes, at - firstByte * 8, end - firstByte * 8, wanted: true) + firstByte * 8;
                at = FindBit(bytes, start - firstByte * 8, end - firstByte * 8, wanted: false) + firstByte * 8;
                if (start < at)
                {
                    _map.Add(new GranuleRun(start, at));
                }
            }
        }
    }

    /// <summary>Copies bits out; those behind the last one are 0.</summary>
    /// <param name="firstByte">A multiple of 8.</param>
    /// <param name="bytes">Receives the bits. Its length is a multiple of 8.</param>
    /// <returns>False when they are all 0.</returns>
    public bool CopyTo(long firstByte, Span<byte> bytes)
    {
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        long firstWord = firstByte / sizeof(ulong);
        long endWord = (BitCount + 63) / 64;
        int count = (int)Math.Clamp(endWord - firstWord, 0, words.Length);
        _map.CopyTo(firstWord, words[..count]);
        words[count..].Clear();
        if (count != 0 && firstWord + count == endWord)
        {
            // A full page of the map has its last bits too where the disk ends within it.
            words[count - 1] &= Bits(0, BitCount - (endWord - 1) * 64);
        }

        if (!BitConverter.IsLittleEndian)
        {
            BinaryPrimitives.ReverseEndianness(words, words);
        }

        return words.ContainsAnyExcept(0UL);
    }

    // Under the lock a page can't change between the look at it and the journal, so no journal write takes bits of another back.
    private void MarkNew(GranuleRun run)
    {
        using (_lock.EnterScope())
        {
            for (long at = run.Start; _journal is not null && at < run.End;)
            {
                GranuleRun step = new(at, Math.Min(run.End, (at / StepBits + 1) * StepBits));
                if (_map.FirstNotIn(step) < step.End)
                {
                    StoreWith(step, _journal);
                }

                at = step.End;
            }

            _watch?.NoteMarks(_map, run);
            _map.Add(run);
        }
    }

    private void StoreWith(GranuleRun run, IBitmapJournal journal)
    {
        long pageIndex = run.Start / StepBits;
        Span<byte> page = journal.Page;
        _ = CopyTo(pageIndex * IBitmapJournal.PageBytes, page);
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(page);
        long start = run.Start - pageIndex * StepBits;
        long end = run.End - pageIndex * StepBits;
        for (int i = (int)(start / 64); i * 64L < end; i++)
        {
            ulong added = Bits(start - i * 64L, end - i * 64L);
            words[i] |= BitConverter.IsLittleEndian ? added : BinaryPrimitives.ReverseEndianness(added);
        }

        journal.Store(pageIndex);
    }

    // The bits of a word from a start to an end, both of which may lie outside of it.
    private static ulong Bits(long start, long end)
    {
        ulong below = end >= 64 ? ulong.MaxValue : (1UL << (int)end) - 1;
        return start <= 0 ? below : below & (ulong.MaxValue << (int)start);
    }

    private static long FindBit(ReadOnlySpan<byte> bytes, long start, long end, bool wanted)
    {
        byte uniform = wanted ? (byte)0 : byte.MaxValue;
        for (long at = start; at < end;)
        {
            if ((at & 7) == 0)
            {
                int skipped = bytes[(int)(at >> 3)..].IndexOfAnyExcept(uniform);
                at = skipped < 0 ? end : at + skipped * 8L;
            }

            if (at < end && (bytes[(int)(at >> 3)] >> (int)(at & 7) & 1) != 0 == wanted)
            {
                return at;
            }

            at++;
        }

        return end;
    }
}
