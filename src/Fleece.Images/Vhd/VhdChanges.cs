// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>Changes the map of a dynamic or differencing VHD image.</summary>
/// <remarks>
/// <para>A new block reads as the disk did there before, as zeros or the parent. It is published before the guest's bytes are written, and
/// its bits are set after; two writers that race for one block both write into it. Over the parent whole sectors are stored, and writers of
/// one block take turns for that (<see cref="ParentSectors"/>).</para>
/// <para>Allocated blocks stay: the format has no other zeros than stored ones, and a block that never changes its place needs no care for
/// requests that are under way. A discard leaves sectors that the parent holds, because the format can't say that a sector is of no
/// interest.</para>
/// <para>Stages of a write-back:</para>
/// <code>
/// 0  sector bitmaps of blocks that the disk's table does not know yet    then flush (the guest's data with it)
/// 1  sector bitmaps of the others, table entries of new blocks           then flush
/// </code>
/// <para>A bit is set in memory only when the sector's bytes are in the file. So nothing on disk says that a sector or a block is
/// there before it is: a crash leaves space that nothing uses, never a sector of unknown content.</para>
/// </remarks>
internal sealed class VhdChanges : IImageChanges, IStagedChanges
{
    private const int BlockLockCount = 64;

    private readonly IContainerFile _file;
    private readonly VhdHeader _header;
    private readonly VhdMetadata _metadata;
    private readonly ParentImage? _parent;
    private readonly bool _mustStoreZeroes;
    private readonly ParentSectors _sectors;

    // A lock may be held across I/O on its blocks.
    private readonly Lock[] _blockLocks = [.. Enumerable.Range(0, BlockLockCount).Select(_ => new Lock())];

    /// <param name="file">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="metadata">Its tables.</param>
    /// <param name="parent">The parent of a differencing image; null for zeros.</param>
    /// <param name="mustStoreZeroes">True to store zeros over a parent that reads as zeros itself.</param>
    public VhdChanges(IContainerFile file, VhdHeader header, VhdMetadata metadata, ParentImage? parent, bool mustStoreZeroes)
    {
        _file = file;
        _header = header;
        _metadata = metadata;
        _parent = parent;
        _mustStoreZeroes = mustStoreZeroes;
        _sectors = new ParentSectors(file, parent, VhdLimits.SectorBytes);
        WriteBack = new StagedWriteBack(file, dataFile: null, this, stageCount: 2, metadata.Journal);
    }

    public StagedWriteBack WriteBack { get; }

    public Poison Poison => _metadata.Poison;

    public Lock Sync => _metadata.Sync;

    public bool HasChanged => _metadata.IsPrepared;

    public bool IsWriteBackDue => _metadata.NeedsWriteBack;

    public IUnitDrops? Drops => null;

    public long PunchBytes => VhdLimits.SectorBytes;

    public bool SaysPartialZeroes => false;

    public void Prepare() => _metadata.Prepare();

    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes)
    {
        doneBytes = 0;
        if (_metadata.Journal is { HasRoom: false })
        {
            return false;
        }

        int block = _header.BlockOf(offsetBytes);
        ReadOnlySpan<byte> part = data[..Math.Min(data.Length, _header.BytesLeftInBlock(offsetBytes))];
        uint sector = FindOrAllocate(block, out bool isNew);
        if (_metadata.IsDifferencing)
        {
            doneBytes = StoreOverParent(block, sector, offsetBytes, part.Length, part);
        }
        else if (isNew)
        {
            doneBytes = 0;
        }
        else
        {
            doneBytes = part.Length;
            _file.Write(FileOffsetOf(sector, offsetBytes), part);
            SetPresent(block, offsetBytes, part.Length);
        }

        return true;
    }

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes)
    {
        int block = _header.BlockOf(offsetBytes);
        int partBytes = (int)Math.Min(run.LengthBytes, _header.BytesLeftInBlock(offsetBytes));
        doneBytes = 0;
        if (_metadata.Journal is { HasRoom: false })
        {
            return false;
        }

        doneBytes = partBytes;
        if (run.Kind == RunKind.Data)
        {
            _file.Zero(run.FileOffsetBytes, partBytes);
            SetPresent(block, offsetBytes, partBytes);
        }
        else if (_mustStoreZeroes || !IsParentZero(offsetBytes, partBytes))
        {
            doneBytes = StoreOverParent(block, FindOrAllocate(block, out _), offsetBytes, partBytes, default);
        }

        return true;
    }

    public void Capture(StagedWrites writes)
    {
        foreach (SectorBitmap bitmap in _metadata.Bitmaps.Dirty)
        {
            long offsetBytes = (long)_metadata.Table[bitmap.Block] * VhdLimits.SectorBytes;
            bitmap.Bytes.CopyTo(writes.Add(bitmap.IsNew ? 0 : 1, offsetBytes, bitmap.Bytes.Length));
        }

        _metadata.Bitmaps.BeginWriteBack();
        List<int> blocks = _metadata.NewBlocks;
        blocks.Sort();
        for (int i = 0; i < blocks.Count;)
        {
            int count = 1;
            while (i + count < blocks.Count && blocks[i + count] == blocks[i] + count)
            {
                count++;
            }

            Span<byte> bytes = writes.Add(1, _metadata.EntryOffsetBytes(blocks[i]), count * sizeof(uint));
            for (int entry = 0; entry < count; entry++)
            {
                BinaryPrimitives.WriteUInt32BigEndian(bytes[(entry * sizeof(uint))..], _metadata.Table[blocks[i] + entry]);
            }

            i += count;
        }

        _metadata.ForgetNewBlocks();
        writes.Flush(0);
        if (!writes.IsEmpty(1))
        {
            writes.Flush(1);
        }
    }

    public void EndWriteBack()
    {
        foreach (SectorBitmap bitmap in _metadata.Bitmaps.Captured)
        {
            bitmap.IsNew = false;
        }

        _metadata.Bitmaps.EndWriteBack();
    }

    public void Reclaim()
    {
    }

    public void Finish() => _metadata.Finish();

    private long FileOffsetOf(uint sector, long offsetBytes) => _metadata.DataOffsetBytes(sector) + _header.InBlock(offsetBytes);

    private void SetPresent(int block, long offsetBytes, int lengthBytes)
    {
        int inBlock = _header.InBlock(offsetBytes);
        int first = inBlock / VhdLimits.SectorBytes;
        int last = (inBlock + lengthBytes - 1) / VhdLimits.SectorBytes;
        _metadata.SetPresent(block, first, last - first + 1);
    }

    private uint FindOrAllocate(int block, out bool isNew)
    {
        uint sector = _metadata.Find(block);
        isNew = sector == VhdBlockTable.Free;
        return isNew ? _metadata.Allocate(block) : sector;
    }

    // Stores bytes, or zeros where the data is empty, in sectors that the parent holds; returns how many bytes are done.
    private int StoreOverParent(int block, uint sector, long offsetBytes, int lengthBytes, ReadOnlySpan<byte> data)
    {
        lock (_blockLocks[block % BlockLockCount])
        {
            int runBytes = _metadata.FindBitmap(block).CountRunBytes(_header.InBlock(offsetBytes), lengthBytes, out bool isPresent);
            if (isPresent)
            {
                return 0;
            }

            _sectors.Store(FileOffsetOf(sector, offsetBytes), offsetBytes, runBytes, data.IsEmpty ? data : data[..runBytes]);
            SetPresent(block, offsetBytes, runBytes);
            return runBytes;
        }
    }

    private bool IsParentZero(long offsetBytes, long lengthBytes)
    {
        long endBytes = offsetBytes + lengthBytes;
        while (offsetBytes < endBytes && _parent is not null)
        {
            BlockStatusRun run = _parent.GetStatus(offsetBytes, endBytes - offsetBytes);
            if (!run.ReadsAsZero)
            {
                return false;
            }

            offsetBytes += run.LengthBytes;
        }

        return true;
    }
}
