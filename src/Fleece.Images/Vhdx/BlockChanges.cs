// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Changes what the tables say of blocks, and takes the changed pages to the disk through the log.</summary>
/// <remarks>
/// <para>One change takes part in one commit, which is what a write-back is here: all its pages are in one entry of the log, so a crash
/// keeps all of them or none. A change that finds no room in the entry says so and has done nothing.</para>
/// <para>Stages of a write-back; without changed pages there is only the first:</para>
/// <code>
/// 0  nothing                                     then flush: the guest's data, zeroed space, the length of the file,
///                                                and the pages that the write-back before put in place
/// 1  one entry of the log, its own tail          then flush, and the first time log_guid in both headers, each with a flush
/// 2  the pages in their places in the file       durable with the next write-back's stage 0
/// </code>
/// <para>So nothing the log or a page in place points to is missing, and what is half in place the log has whole. The
/// header names the log only when its first entry is durable, because a named log without an entry is damage.</para>
/// <para>Threading. Any thread; a request that changes a block's entry holds the block's lock (<see cref="VhdxChanges"/>) around
/// that.</para>
/// </remarks>
internal sealed class BlockChanges : IStagedChanges
{
    public const int StageCount = 3;

    // Of one change besides the block's bits, which fill whole pages: one more page of bits, and two pages of the BAT.
    private const int PagesBesideBits = 3;

    private readonly VhdxMap _map;
    private readonly VhdxMetadata _metadata;
    private readonly VhdxHeaders _headers;
    private readonly MetadataPages _pages;
    private readonly FileSpace _space;
    private readonly FreedPlaces _freed;
    private readonly ImageJournal? _journal;
    private readonly bool _mustKeepIdentity;
    private readonly LogWriter _log;
    private readonly Lock _headerLock = new();
    private volatile bool _hasChanged;

    /// <param name="map">What lies where.</param>
    /// <param name="structure">The image's structures.</param>
    /// <param name="space">The file's space.</param>
    /// <param name="mustKeepIdentity">As <see cref="ImageOpenOptions.MustKeepIdentity"/>.</param>
    /// <param name="journal">Gets the changes; null for none.</param>
    public BlockChanges(VhdxMap map, VhdxStructure structure, FileSpace space, bool mustKeepIdentity, ImageJournal? journal)
    {
        _journal = journal;
        _map = map;
        _metadata = structure.Metadata;
        _headers = structure.Headers;
        _pages = map.Pages;
        _space = space;
        _mustKeepIdentity = mustKeepIdentity;
        _log = new LogWriter(_headers.Current);
        _freed = new FreedPlaces(
            map.Epochs,
            Sync,
            Poison,
            VhdxLimits.MaxFreedBytes / VhdxFormat.MiB,
            run => space.Zero(run.First * VhdxFormat.MiB, run.Count * VhdxFormat.MiB),
            run => space.Give(new FreeSpace(run.First * VhdxFormat.MiB, run.Count * VhdxFormat.MiB, IsZero: true)));
    }

    public Lock Sync => _pages.Sync;

    public Poison Poison => _map.Poison;

    public bool HasChanged => _hasChanged;

    /// <summary>True when a request should write back before it changes more. Any thread.</summary>
    public bool NeedsCommit => _pages.NeedWriteBack || _freed.NeedsWriteBack;

    /// <summary>Changed pages beside which one more change may not fit into the log entry.</summary>
    public static int FindDirtyLimit(VhdxStructure structure)
    {
        VhdxMetadata metadata = structure.Metadata;
        int bitPages = metadata.HasParent ? metadata.BlockBytes / metadata.SectorBytes / 8 / VhdxFormat.PageBytes : 0;
        return LogWriter.FindMaxPages(structure.Headers.Current) - bitPages - PagesBesideBits + 1;
    }

    /// <summary>Before the first change of the file: both headers say that the file (file_write_guid) and the disk's content
    /// (data_write_guid) are no longer what they were; the latter unless children are to see no difference.</summary>
    public void Prepare()
    {
        if (_hasChanged)
        {
            return;
        }

        lock (_headerLock)
        {
            Poison.ThrowIfSet();
            if (!_hasChanged)
            {
                RenewGuids(Guid.NewGuid());
                _hasChanged = true;
            }
        }
    }

    /// <summary>Takes space for a block.</summary>
    public FreeSpace TakeSpace()
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            return _space.Take(_metadata.BlockBytes);
        }
    }

    /// <summary>Gives space back that <see cref="TakeSpace"/> gave and no entry got.</summary>
    public void GiveSpace(FreeSpace unused)
    {
        lock (Sync)
        {
            _space.Give(unused);
        }
    }

    /// <summary>Says that all of a block is stored.</summary>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryStoreBlock(long block, long fileOffsetBytes)
    {
        lock (Sync)
        {
            return HasRoom() && SetEntry(_map.BatIndex(block), new BatEntry(BlockState.FullyPresent, fileOffsetBytes));
        }
    }

    /// <summary>Says that sectors of a block are stored; those around them show the parent as before. Their bytes are in the
    /// file.</summary>
    /// <param name="block">The block, which shows the parent there.</param>
    /// <param name="fileOffsetBytes">Where it is.</param>
    /// <param name="offsetBytes">First byte of the first sector, on the disk.</param>
    /// <param name="lengthBytes">Whole sectors, in the block.</param>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryStoreSectors(long block, long fileOffsetBytes, long offsetBytes, long lengthBytes)
    {
        lock (Sync)
        {
            if (!HasRoom())
            {
                return false;
            }

            long bitmapBytes = FindOrAddBitmap(block);
            long first = _map.BitOf(block * _metadata.BlockBytes);
            long count = _metadata.DiskBytesOf(block) / _metadata.SectorBytes;
            if (_map.FindEntry(block).State != BlockState.PartiallyPresent)
            {
                _map.Bits.Set(bitmapBytes, first, first + count, isSet: false);
            }

            long from = _map.BitOf(offsetBytes);
            _map.Bits.Set(bitmapBytes, from, from + (lengthBytes / _metadata.SectorBytes), isSet: true);
            bool isFull = _map.Bits.HasAll(bitmapBytes, first, first + count);
            return SetEntry(
                _map.BatIndex(block),
                new BatEntry(isFull ? BlockState.FullyPresent : BlockState.PartiallyPresent, fileOffsetBytes));
        }
    }

    /// <summary>Says that a block reads as zeros and frees its space.</summary>
    /// <param name="block">The block.</param>
    /// <param name="entry">Its entry, whose place is right.</param>
    /// <param name="isDiscard">True when the content means nothing any more, false for zeros.</param>
    /// <returns>False when a commit must make room first; then nothing is changed.</returns>
    public bool TryDropBlock(long block, BatEntry entry, bool isDiscard)
    {
        lock (Sync)
        {
            if (!HasRoom())
            {
                return false;
            }

            if (entry.IsPresent)
            {
                _freed.Add(entry.OffsetBytes / VhdxFormat.MiB, _metadata.BlockBytes / VhdxFormat.MiB, isShared: false);
            }

            // Readers differ in whether the parent shows through an unmapped block; zeros are zeros everywhere.
            BlockState state = isDiscard && !_metadata.HasParent ? BlockState.Unmapped : BlockState.Zero;
            return SetEntry(_map.BatIndex(block), new BatEntry(state, 0));
        }
    }

    public void Capture(StagedWrites writes)
    {
        _freed.BeginWriteBack();
        writes.Flush(0);
        List<MetadataPage> pages = _pages.Cache.Dirty;
        if (pages.Count == 0)
        {
            return;
        }

        _log.Append(writes, stage: 1, pages, _space.FileBytes);
        writes.Flush(1, _headers.Current.LogGuid == _log.LogGuid ? null : NameLog);
        foreach (MetadataPage page in pages)
        {
            page.Bytes.CopyTo(writes.Add(2, page.OffsetBytes, VhdxFormat.PageBytes));
        }

        _pages.Cache.BeginWriteBack();
    }

    public void EndWriteBack()
    {
        _pages.Cache.EndWriteBack();
        _freed.EndWriteBack();
    }

    public void Reclaim() => _freed.Reclaim();

    /// <summary>Leaves the file with an empty log and without what it has grown in advance. No request may run.</summary>
    public void Finish()
    {
        Poison.Guard(_map.DataFile.Flush);
        if (_headers.Current.LogGuid != Guid.Empty)
        {
            UpdateHeaders(header => header with { LogGuid = Guid.Empty });
        }

        lock (Sync)
        {
            _space.TrimFile();
        }

        _map.DataFile.Flush();
    }

    // In a method of its own, because a request that finds the guids renewed would make the object that the lambda needs.
    private void RenewGuids(Guid fileWriteGuid)
    {
        _journal?.SetWitness(fileWriteGuid);
        UpdateHeaders(header => header with
        {
            FileWriteGuid = fileWriteGuid,
            DataWriteGuid = _mustKeepIdentity ? header.DataWriteGuid : Guid.NewGuid(),
        });
    }

    private void NameLog() => _headers.Update(header => header with { LogGuid = _log.LogGuid });

    private void UpdateHeaders(Func<VhdxHeader, VhdxHeader> change) => Poison.Guard(() => _headers.Update(change));

    private bool HasRoom()
    {
        Poison.ThrowIfSet();
        return !_pages.AreFullOfChanges;
    }

    private bool SetEntry(long batIndex, BatEntry entry)
    {
        MetadataPage page = _pages.FindLocked(_map.EntryOffsetBytes(batIndex));
        _pages.Set(page, (int)(batIndex % MetadataPage.WordCount), entry.Value);
        return true;
    }

    private long FindOrAddBitmap(long block)
    {
        long index = _map.BitmapIndex(block);
        if (_map.Entry(index).State == BlockState.FullyPresent)
        {
            return _map.FindBitmap(block);
        }

        FreeSpace bitmap = _space.TakeAtEnd(VhdxFormat.MiB);
        if (!bitmap.IsZero)
        {
            _space.Zero(bitmap.OffsetBytes, bitmap.LengthBytes);
        }

        SetEntry(index, new BatEntry(BlockState.FullyPresent, bitmap.OffsetBytes));
        return bitmap.OffsetBytes;
    }
}
