// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>Bits of the sector bitmaps (MS-VHDX section 2.5.2): the lowest bit of the first byte is the first sector of the chunk, and a
/// set bit says that the sector is stored here.</summary>
/// <remarks>Threading. <see cref="CountRun"/> from any thread without a lock; the rest under <see cref="MetadataPages.Sync"/>.</remarks>
/// <param name="pages">The bitmaps in memory.</param>
internal sealed class SectorBitmaps(MetadataPages pages)
{
    /// <summary>Counts the sectors from one on that are all stored here, or all not.</summary>
    /// <param name="bitmapBytes">Where the chunk's bitmap is in the file.</param>
    /// <param name="first">The first sector's bit.</param>
    /// <param name="end">Behind the last bit that counts.</param>
    /// <param name="isStored">Whether they are.</param>
    public long CountRun(long bitmapBytes, long first, long end, out bool isStored)
    {
        isStored = (pages.Find(bitmapBytes + (first / 8))[WordOf(first)] & (1UL << (int)(first & 63))) != 0;
        long bit = first + 1;
        while (bit < end)
        {
            ulong word = pages.Find(bitmapBytes + (bit / 8))[WordOf(bit)];
            ulong different = (isStored ? ~word : word) >> (int)(bit & 63);
            if (different != 0)
            {
                bit += BitOperations.TrailingZeroCount(different);
                break;
            }

            bit = (bit | 63) + 1;
        }

        return Math.Min(bit, end) - first;
    }

    /// <summary>Sets or clears the bits from one on up to another.</summary>
    public void Set(long bitmapBytes, long first, long end, bool isSet)
    {
        for (long bit = first; bit < end; bit = (bit | 63) + 1)
        {
            MetadataPage page = pages.FindLocked(bitmapBytes + (bit / 8));
            ulong mask = Mask(bit, end);
            ulong word = page[WordOf(bit)];
            ulong changed = isSet ? word | mask : word & ~mask;
            if (changed != word)
            {
                pages.Set(page, WordOf(bit), changed);
            }
        }
    }

    /// <summary>True when all bits from one on up to another are set.</summary>
    public bool HasAll(long bitmapBytes, long first, long end)
    {
        for (long bit = first; bit < end; bit = (bit | 63) + 1)
        {
            ulong mask = Mask(bit, end);
            if ((pages.FindLocked(bitmapBytes + (bit / 8))[WordOf(bit)] & mask) != mask)
            {
                return false;
            }
        }

        return true;
    }

    private static int WordOf(long bit) => (int)((bit / 64) % MetadataPage.WordCount);

    // The bits of a word from a bit on, as far as they lie before the end.
    private static ulong Mask(long bit, long end)
    {
        ulong mask = ulong.MaxValue << (int)(bit & 63);
        long wordEnd = (bit | 63) + 1;
        return wordEnd <= end ? mask : mask & (ulong.MaxValue >> (int)(wordEnd - end));
    }
}
