// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>The sector bitmap of a block in memory, as it is on disk.</summary>
/// <remarks>
/// <para>A set bit says that the block holds the sector; the first sector is the most significant bit of the first byte
/// ("Block Allocation Table and Data Blocks", Sector Bitmap).</para>
/// <para>Threading. Bits are read without a lock, each 64 of them at once, and set under the metadata lock; everything else is
/// touched under that lock. Bits are only ever set.</para>
/// </remarks>
internal sealed class SectorBitmap : ClockEntry
{
    /// <summary>Bits that are read and set at once.</summary>
    public const int WordBits = 64;

    private readonly ulong[] _words;

    /// <summary>A bitmap without bits.</summary>
    public SectorBitmap(int block, int bitmapBytes)
    {
        _words = new ulong[bitmapBytes / sizeof(ulong)];
        BeginFilling(block);
    }

    public int Block => (int)Key;

    /// <summary>True until the block allocation table on disk points to the block.</summary>
    public bool IsNew;

    public override bool IsHeld => IsNew;

    /// <summary>The bytes as they are on disk; to be changed only before anybody else sees the bitmap.</summary>
    public Span<byte> Bytes => MemoryMarshal.AsBytes(_words.AsSpan());

    /// <summary>Sectors from one on that are all held by the block, or all not.</summary>
    public int CountRun(int sector, int most, out bool isPresent)
    {
        ulong first = WordAt(sector) << (sector % WordBits);
        isPresent = (long)first < 0;
        int count = 0;
        while (count < most)
        {
            int at = sector + count;
            ulong word = isPresent ? ~WordAt(at) : WordAt(at);
            int same = BitOperations.LeadingZeroCount(word << (at % WordBits));
            int left = WordBits - (at % WordBits);
            count += Math.Min(same, left);
            if (same < left)
            {
                break;
            }
        }

        return Math.Min(count, most);
    }

    /// <summary>Bytes from one of the block on that it holds, or that all lie in sectors it does not hold.</summary>
    public int CountRunBytes(int inBlock, int mostBytes, out bool isPresent)
    {
        int first = inBlock / VhdLimits.SectorBytes;
        int last = (inBlock + mostBytes - 1) / VhdLimits.SectorBytes;
        int count = CountRun(first, last - first + 1, out isPresent);
        return (int)Math.Min(mostBytes, ((long)(first + count) * VhdLimits.SectorBytes) - inBlock);
    }

    /// <summary>True when the block holds all of the sectors.</summary>
    public bool HasAll(int sector, int count) => CountRun(sector, count, out bool isPresent) == count && isPresent;

    /// <summary>Sets the bits of sectors.</summary>
    public void Set(int sector, int count)
    {
        while (count > 0)
        {
            int bits = Math.Min(count, WordBits - (sector % WordBits));
            Volatile.Write(ref _words[sector / WordBits], FromDisk(WordAt(sector) | Mask(sector, bits)));
            sector += bits;
            count -= bits;
        }
    }

    /// <summary>The bytes of a sector's word as <see cref="Set"/> would leave them on disk.</summary>
    public void ReadWith(int sector, int count, Span<byte> word) =>
        BinaryPrimitives.WriteUInt64BigEndian(word, WordAt(sector) | Mask(sector, Math.Min(count, WordBits - (sector % WordBits))));

    private static ulong Mask(int sector, int bits) =>
        (bits == WordBits ? ulong.MaxValue : ~(ulong.MaxValue >> bits)) >> (sector % WordBits);

    private static ulong FromDisk(ulong value) =>
        BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(value) : value;

    private ulong WordAt(int sector) => FromDisk(Volatile.Read(ref _words[sector / WordBits]));
}
