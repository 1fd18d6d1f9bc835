// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>Stores and drops blocks.</summary>
/// <remarks>
/// <para>One change takes part in one commit, so all its pages are in one entry of the log and a crash keeps all of them or none. A
/// change that finds no room in the entry says so and has done nothing; its caller runs a commit and tries again.</para>
/// <para>Threading. Any thread, under the metadata lock; a request that changes what a block stores holds the block's lock
/// (<see cref="LockOf"/>) around that.</para>
/// </remarks>
/// <param name="map">What is stored where.</param>
/// <param name="metadata">The image's sizes.</param>
/// <param name="space">The file's space.</param>
internal sealed class BlockChanges(BlockMap map, VhdxMetadata metadata, FileSpace space)
{
    private const int BlockLocks = 64;

    // Of one change: the block's bits, in whole pages and one more, and two pages of the BAT.
    private const int PagesBesideBits = 3;

    private readonly MetadataPages _pages = map.Pages;
    private readonly Poison _poison = map.Poison;
    private readonly int _pagesOfChange =
        (metadata.HasParent ? metadata.BlockBytes / metadata.SectorBytes / 8 / VhdxFormat.PageBytes : 0) + PagesBesideBits;

    private readonly Lock[] _blockLocks = [.. Enumerable.Range(0, BlockLocks).Select(_ => new Lock())];

    /// <summary>Most dirty pages; set before the first change.</summary>
    public int MostDirtyPages { get; set; }

    /// <summary>The number of the commit that will take the next changes.</summary>
    public long NextCommit { get; private set; } = 1;

    /// <summary>The last commit whose changes are durable.</summary>
    public long FinishedCommit { get; private set; }

    /// <summary>True when a request should run a commit before it changes more. Any thread.</summary>
    public bool NeedsCommit => _pages.Dirty.Count + _pagesOfChange > MostDirtyPages || space.NeedsCommit;

    /// <summary>The lock for changes of what a block stores. It may be held across I/O on that block.</summary>
    public Lock LockOf(long block) => _blockLocks[block % BlockLocks];

    /// <summary>Takes space for a block.</summary>
    public FreeSpace TakeSpace()
    {
        lock (_pages.Sync)
        {
            _poison.ThrowIfSet();
            return space.Take(metadata.BlockBytes);
        }
    }

    /// <summary>Gives space back that <see cref="TakeSpace"/> gave and no entry got.</summary>
    public void GiveSpace(FreeSpace unused)
    {
        lock (_pages.Sync)
        {
            space.Give(unused);
        }
    }

    /// <summary>Says that all of a block is stored. The caller holds the block's lock.</summary>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryStoreBlock(long block, long fileOffsetBytes)
    {
        lock (_pages.Sync)
        {
            return HasRoom() && SetEntry(map.BatIndex(block), new BatEntry(BlockState.FullyPresent, fileOffsetBytes));
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
        lock (_pages.Sync)
        {
            if (!HasRoom())
            {
                return false;
            }

            long bitmapBytes = FindOrAddBitmap(block);
            long first = map.BitOf(block * metadata.BlockBytes);
            long count = BlockMap.LeastBytes(metadata, block) / metadata.SectorBytes;
            if (map.FindEntry(block).State != BlockState.PartiallyPresent)
            {
                map.Bits.Set(bitmapBytes, first, first + count, isSet: false);
            }

            long from = map.BitOf(offsetBytes);
            map.Bits.Set(bitmapBytes, from, from + (lengthBytes / metadata.SectorBytes), isSet: true);
            bool isFull = map.Bits.HasAll(bitmapBytes, first, first + count);
            return SetEntry(
                map.BatIndex(block),
                new BatEntry(isFull ? BlockState.FullyPresent : BlockState.PartiallyPresent, fileOffsetBytes));
        }
    }

    /// <summary>Says that a block reads as zeros and frees its space. The caller holds the block's lock.</summary>
    /// <param name="block">The block.</param>
    /// <param name="isDiscard">True when the content means nothing any more, false for zeros.</param>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryDropBlock(long block, bool isDiscard)
    {
        lock (_pages.Sync)
        {
            BatEntry entry = map.FindEntry(block);
            bool hidesParent = metadata.HasParent && entry.State == BlockState.NotPresent;
            if (!entry.IsPresent && !hidesParent)
            {
                return true;
            }

            if (!HasRoom())
            {
                return false;
            }

            // Readers differ in whether the parent shows through an unmapped block; zeros are zeros everywhere.
            BlockState state = isDiscard && !metadata.HasParent ? BlockState.Unmapped : BlockState.Zero;
            if (entry.IsPresent)
            {
                map.CheckPlace(block, entry);
                space.Free(new FreedBlock(entry.OffsetBytes, metadata.BlockBytes, map.Epochs.Current, NextCommit));
            }

            return SetEntry(map.BatIndex(block), new BatEntry(state, 0));
        }
    }

    /// <summary>Zeroes freed blocks nobody uses any more and makes them free.</summary>
    /// <remarks>Not from within a request that is counted in <see cref="Epochs"/>: it would wait for itself.</remarks>
    public void Reclaim()
    {
        while (true)
        {
            FreedBlock block;
            lock (_pages.Sync)
            {
                if (_poison.IsSet)
                {
                    return;
                }

                map.Epochs.Advance();
                if (!space.TryTakeFreed(map.Epochs, FinishedCommit, out block))
                {
                    return;
                }
            }

            // A block that can't be zeroed is left out of use until the image is opened again.
            space.Zero(block.OffsetBytes, block.LengthBytes);
            GiveSpace(new FreeSpace(block.OffsetBytes, block.LengthBytes, IsZero: true));
        }
    }

    /// <summary>Starts a commit; its changes are those made so far. Under the metadata lock.</summary>
    public long BeginCommit() => NextCommit++;

    /// <summary>Notes that the changes of a commit are durable. Under the metadata lock.</summary>
    public void EndCommit(long number) => FinishedCommit = number;

    private bool HasRoom()
    {
        _poison.ThrowIfSet();
        return _pages.Dirty.Count + _pagesOfChange <= MostDirtyPages;
    }

    private bool SetEntry(long batIndex, BatEntry entry)
    {
        MetadataPage page = _pages.FindLocked(map.EntryOffsetBytes(batIndex));
        page[(int)(batIndex % MetadataPage.WordCount)] = entry.Value;
        _pages.MarkDirty(page);
        return true;
    }

    private long FindOrAddBitmap(long block)
    {
        long index = map.BitmapIndex(block);
        if (map.Entry(index).State == BlockState.FullyPresent)
        {
            return map.FindBitmap(block);
        }

        FreeSpace bitmap = space.TakeAtEnd(VhdxFormat.MiB);
        if (!bitmap.IsZero)
        {
            space.Zero(bitmap.OffsetBytes, bitmap.LengthBytes);
        }

        SetEntry(index, new BatEntry(BlockState.FullyPresent, bitmap.OffsetBytes));
        return bitmap.OffsetBytes;
    }
}
