// SPDX-License-Identifier: MIT
using Fleece.Images.Vhdx.Structures;
namespace Fleece.Images.Vhdx.Blocks;

/// <content>Storing and dropping blocks.</content>
/// <remarks>
/// One change takes part in one commit, so all its pages are in one entry of the log and a crash keeps all of them or none. A
/// change that finds no room in the entry says so and has done nothing; its caller runs a commit and tries again.
/// </remarks>
internal sealed partial class BlockMap
{
    // Of one change: the block's bits, in whole pages and one more, and two pages of the BAT.
    private const int PagesBesideBits = 3;

    private readonly FileSpace? _space;

    /// <summary>Most dirty pages; set before the first change.</summary>
    public int MostDirtyPages { get; set; }

    /// <summary>The number of the commit that will take the next changes.</summary>
    public long NextCommit { get; private set; } = 1;

    /// <summary>The last commit whose changes are durable.</summary>
    public long FinishedCommit { get; private set; }

    /// <summary>True when a request should run a commit before it changes more. Any thread.</summary>
    public bool NeedsCommit => Pages.Dirty.Count + PagesOfChange > MostDirtyPages || _space!.NeedsCommit;

    private int PagesOfChange =>
        (_metadata.HasParent ? (_metadata.BlockBytes >> _sectorBits) / 8 / VhdxFormat.PageBytes : 0) + PagesBesideBits;

    /// <summary>Takes space for a block.</summary>
    public FreeSpace TakeSpace()
    {
        lock (Pages.Sync)
        {
            Poison.ThrowIfSet();
            return _space!.Take(_metadata.BlockBytes);
        }
    }

    /// <summary>Gives space back that <see cref="TakeSpace"/> gave and no entry got.</summary>
    public void GiveSpace(FreeSpace space)
    {
        lock (Pages.Sync)
        {
            _space!.Give(space);
        }
    }

    /// <summary>Says that all of a block is stored. The caller holds the block's lock.</summary>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryStoreBlock(long block, long fileOffsetBytes)
    {
        lock (Pages.Sync)
        {
            return HasRoom() && SetEntry(BatIndex(block), new BatEntry(BlockState.FullyPresent, fileOffsetBytes));
        }
    }

    /// <summary>Says that sectors of a block are stored; those around them show the parent as before. The caller holds
    /// the block's lock, and their bytes are in the file.</summary>
    /// <param name="block">The block, which shows the parent there.</param>
    /// <param name="fileOffsetBytes">Where it is.</param>
    /// <param name="offsetBytes">First byte of the first sector, on the disk.</param>
    /// <param name="lengthBytes">Whole sectors, in the block.</param>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryStoreSectors(long block, long fileOffsetBytes, long offsetBytes, long lengthBytes)
    {
        lock (Pages.Sync)
        {
            if (!HasRoom())
            {
                return false;
            }

            long bitmapBytes = FindOrAddBitmap(block);
            long first = BitOf(block << _blockBits);
            long count = LeastBytes(_metadata, block) >> _sectorBits;
            if (FindEntry(block).State != BlockState.PartiallyPresent)
            {
                SetBits(bitmapBytes, first, first + count, isSet: false);
            }

            long from = BitOf(offsetBytes);
            SetBits(bitmapBytes, from, from + (lengthBytes >> _sectorBits), isSet: true);
            bool isFull = HasAllBits(bitmapBytes, first, first + count);
            return SetEntry(
                BatIndex(block),
                new BatEntry(isFull ? BlockState.FullyPresent : BlockState.PartiallyPresent, fileOffsetBytes));
        }
    }

    /// <summary>Says that a block reads as zeros and frees its space. The caller holds the block's lock.</summary>
    /// <param name="block">The block.</param>
    /// <param name="isDiscard">True when the content means nothing any more, false for zeros.</param>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryDropBlock(long block, bool isDiscard)
    {
        lock (Pages.Sync)
        {
            BatEntry entry = FindEntry(block);
            bool hidesParent = _metadata.HasParent && entry.State == BlockState.NotPresent;
            if (!entry.IsPresent && !hidesParent)
            {
                return true;
            }

            if (!HasRoom())
            {
                return false;
            }

            // Readers differ in whether the parent shows through an unmapped block; zeros are zeros everywhere.
            BlockState state = isDiscard && !_metadata.HasParent ? BlockState.Unmapped : BlockState.Zero;
            if (entry.IsPresent)
            {
                CheckPlace(block, entry);
                _space!.Free(new FreedBlock(entry.OffsetBytes, _metadata.BlockBytes, Epochs.Current, NextCommit));
            }

            return SetEntry(BatIndex(block), new BatEntry(state, 0));
        }
    }

    /// <summary>Zeroes freed blocks nobody uses any more and makes them free.</summary>
    /// <remarks>Not from within a request that is counted in <see cref="Epochs"/>: it would wait for itself.</remarks>
    public void Reclaim()
    {
        while (true)
        {
            FreedBlock block;
            lock (Pages.Sync)
            {
                if (Poison.IsSet)
                {
                    return;
                }

                Epochs.Advance();
                if (!_space!.TryTakeFreed(Epochs, FinishedCommit, out block))
                {
                    return;
                }
            }

            // A block that can't be zeroed is left out of use until the image is opened again.
            _space.Zero(block.OffsetBytes, block.LengthBytes);
            GiveSpace(new FreeSpace(block.OffsetBytes, block.LengthBytes, IsZero: true));
        }
    }

    /// <summary>Starts a commit; its changes are those made so far. Under the metadata lock.</summary>
    public long BeginCommit() => NextCommit++;

    /// <summary>Notes that the changes of a commit are durable. Under the metadata lock.</summary>
    public void EndCommit(long number) => FinishedCommit = number;

    private bool HasRoom()
    {
        Poison.ThrowIfSet();
        return Pages.Dirty.Count + PagesOfChange <= MostDirtyPages;
    }

    private bool SetEntry(long batIndex, BatEntry entry)
    {
        MetadataPage page = Pages.FindLocked(_batOffsetBytes + (batIndex * sizeof(ulong)));
        page[(int)(batIndex % MetadataPage.WordCount)] = entry.Value;
        Pages.MarkDirty(page);
        return true;
    }

    private long FindOrAddBitmap(long block)
    {
        long index = BitmapIndex(block);
        if (Entry(index).State == BlockState.FullyPresent)
        {
            return FindBitmap(block);
        }

        FreeSpace space = _space!.TakeAtEnd(VhdxFormat.MiB);
        if (!space.IsZero)
        {
            _space.Zero(space.OffsetBytes, space.LengthBytes);
        }

        SetEntry(index, new BatEntry(BlockState.FullyPresent, space.OffsetBytes));
        return space.OffsetBytes;
    }

    private void SetBits(long bitmapBytes, long first, long end, bool isSet)
    {
        for (long bit = first; bit < end; bit = (bit | 63) + 1)
        {
            MetadataPage page = Pages.FindLocked(bitmapBytes + (bit / 8));
            ulong mask = Mask(bit, end);
            ulong word = page[WordOf(bit)];
            ulong changed = isSet ? word | mask : word & ~mask;
            if (changed != word)
            {
                page[WordOf(bit)] = changed;
                Pages.MarkDirty(page);
            }
        }
    }

    private bool HasAllBits(long bitmapBytes, long first, long end)
    {
        for (long bit = first; bit < end; bit = (bit | 63) + 1)
        {
            ulong mask = Mask(bit, end);
            if ((Pages.FindLocked(bitmapBytes + (bit / 8))[WordOf(bit)] & mask) != mask)
            {
                return false;
            }
        }

        return true;
    }

    // The bits of a word from a bit on, as far as they lie before the end.
    private static ulong Mask(long bit, long end)
    {
        ulong mask = ulong.MaxValue << (int)(bit & 63);
        long wordEnd = (bit | 63) + 1;
        return wordEnd <= end ? mask : mask & (ulong.MaxValue >> (int)(wordEnd - end));
    }
}
