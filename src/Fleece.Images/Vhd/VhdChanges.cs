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
/// its bits are set after; two writers that race for one block both write into it. Where a part of a sector is written over the parent, the
/// rest of the sector is copied from there first, and writers of one sector take turns.</para>
/// <para>Allocated blocks stay: the format has no other zeros than stored ones, and a block that never changes its place needs no care for
/// requests that are under way. What the parent holds stays through discards, because the format can't say that a sector is of no
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
    private const int SectorLockCount = 64;

    private readonly IContainerFile _file;
    private readonly VhdHeader _header;
    private readonly VhdMetadata _metadata;
    private readonly ParentImage? _parent;
    private readonly bool _mustStoreZeroes;
    private readonly List<SectorBitmap> _captured = [];
    private readonly Lock[] _sectorLocks = [.. Enumerable.Range(0, SectorLockCount).Select(_ => new Lock())];

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
        WriteBack = new StagedWriteBack(file, dataFile: null, this, stageCount: 2);
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
        int block = _header.BlockOf(offsetBytes);
        uint sector = _metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            _ = _metadata.Allocate(block);
            doneBytes = 0;
            return true;
        }

        ReadOnlySpan<byte> part = data[..Math.Min(data.Length, _header.BytesLeftInBlock(offsetBytes))];
        doneBytes = part.Length;
        if (_metadata.IsDifferencing)
        {
            StoreSectors(block, sector, offsetBytes, part);
        }
        else
        {
            _file.Write(FileOffsetOf(sector, offsetBytes), part);
            SetPresent(block, offsetBytes, part.Length);
        }

        return true;
    }

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes)
    {
        int block = _header.BlockOf(offsetBytes);
        int partBytes = (int)Math.Min(run.LengthBytes, _header.BytesLeftInBlock(offsetBytes));
        doneBytes = partBytes;
        if (run.Kind == RunKind.Data)
        {
            _file.Zero(run.FileOffsetBytes, partBytes);
            SetPresent(block, offsetBytes, partBytes);
        }
        else if (_mustStoreZeroes || !IsParentZero(offsetBytes, partBytes))
        {
            uint sector = _metadata.Find(block);
            if (sector == VhdBlockTable.Free)
            {
                sector = _metadata.Allocate(block);
            }

            doneBytes = HideParent(block, sector, offsetBytes, partBytes);
        }

        return true;
    }

    public void Capture(StagedWrites writes)
    {
        foreach (SectorBitmap bitmap in _metadata.Bitmaps.Dirty)
        {
            long offsetBytes = (long)_metadata.Table[bitmap.Block] * VhdLimits.SectorBytes;
            bitmap.Bytes.CopyTo(writes.Add(bitmap.IsNew ? 0 : 1, offsetBytes, bitmap.Bytes.Length));
            bitmap.IsBeingWritten = true;
            _captured.Add(bitmap);
        }

        _metadata.Bitmaps.MarkAllClean();
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
        foreach (SectorBitmap bitmap in _captured)
        {
            bitmap.IsBeingWritten = false;
            bitmap.IsNew = false;
        }

        _captured.Clear();
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

    private void StoreSectors(int block, uint sector, long offsetBytes, ReadOnlySpan<byte> part)
    {
        while (!part.IsEmpty)
        {
            int countBytes = CountInSector(offsetBytes, part.Length);
            if (countBytes != 0)
            {
                StorePartOfSector(block, sector, offsetBytes, part[..countBytes]);
            }
            else
            {
                countBytes = part.Length & -VhdLimits.SectorBytes;
                _file.Write(FileOffsetOf(sector, offsetBytes), part[..countBytes]);
                SetPresent(block, offsetBytes, countBytes);
            }

            offsetBytes += countBytes;
            part = part[countBytes..];
        }
    }

    // Zeros over sectors that the parent holds; returns how many bytes are done.
    private int HideParent(int block, uint sector, long offsetBytes, int lengthBytes)
    {
        int countBytes = CountInSector(offsetBytes, lengthBytes);
        if (countBytes != 0)
        {
            Span<byte> zeros = stackalloc byte[VhdLimits.SectorBytes];
            zeros.Clear();
            StorePartOfSector(block, sector, offsetBytes, zeros[..countBytes]);
            return countBytes;
        }

        int wholeBytes = lengthBytes & -VhdLimits.SectorBytes;
        _file.Zero(FileOffsetOf(sector, offsetBytes), wholeBytes);
        SetPresent(block, offsetBytes, wholeBytes);
        return wholeBytes;
    }

    // The bytes of a range that lie in its first sector, when they are not all of that; 0 when the range begins with a whole one.
    private static int CountInSector(long offsetBytes, int lengthBytes)
    {
        int inSector = (int)(offsetBytes % VhdLimits.SectorBytes);
        return inSector != 0 || lengthBytes < VhdLimits.SectorBytes ? Math.Min(lengthBytes, VhdLimits.SectorBytes - inSector) : 0;
    }

    // Where the parent holds the sector, it is written whole, as the parent has it and with the part in it.
    private void StorePartOfSector(int block, uint sector, long offsetBytes, ReadOnlySpan<byte> part)
    {
        int index = _header.InBlock(offsetBytes) / VhdLimits.SectorBytes;
        long sectorOffsetBytes = offsetBytes & -VhdLimits.SectorBytes;
        lock (_sectorLocks[index % SectorLockCount])
        {
            if (!_metadata.FindBitmap(block).HasAll(index, 1))
            {
                Span<byte> whole = stackalloc byte[VhdLimits.SectorBytes];
                whole.Clear();
                _parent?.Read(sectorOffsetBytes, whole);
                part.CopyTo(whole[(int)(offsetBytes - sectorOffsetBytes)..]);
                _file.Write(FileOffsetOf(sector, sectorOffsetBytes), whole);
                _metadata.SetPresent(block, index, 1);
                return;
            }
        }

        _file.Write(FileOffsetOf(sector, offsetBytes), part);
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
