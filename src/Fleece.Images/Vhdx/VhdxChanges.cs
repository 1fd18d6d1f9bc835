// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Changes the map of a VHDX image: stores, zeroes and drops parts of its disk over <see cref="BlockChanges"/>.</summary>
/// <remarks>
/// <para>A block that reads as zeros gets space that reads as zeros, so its entry is changed before the bytes are written. Where the parent
/// shows through it is the other way round: first the sectors are written, then their bits are set, so that neither readers nor a crash
/// see sectors without content; writers of one block take turns for that. A drop takes the entry away and queues the space, which is used
/// again only when every request that may have seen it has ended and the log has the change (<see cref="FreedPlaces"/>).</para>
/// <para>Blocks of a fixed image keep their places, so nothing is dropped there. Zeros over the parent are always stored.</para>
/// </remarks>
internal sealed class VhdxChanges : IImageChanges, IUnitDrops
{
    private const int BlockLockCount = 64;

    private readonly IContainerFile _file;
    private readonly VhdxMetadata _metadata;
    private readonly VhdxMap _map;
    private readonly BlockChanges _blocks;
    private readonly ParentSectors _sectors;
    private readonly int _blockBits;

    // A lock may be held across I/O on its blocks.
    private readonly Lock[] _blockLocks = [.. Enumerable.Range(0, BlockLockCount).Select(_ => new Lock())];

    /// <param name="file">The image.</param>
    /// <param name="metadata">Its sizes.</param>
    /// <param name="map">What lies where.</param>
    /// <param name="blocks">Changes that.</param>
    /// <param name="parent">What shows through; null for zeros.</param>
    /// <param name="journal">Gets the changes; null for none.</param>
    public VhdxChanges(
        IContainerFile file, VhdxMetadata metadata, VhdxMap map, BlockChanges blocks, ParentImage? parent, ImageJournal? journal)
    {
        _file = file;
        _metadata = metadata;
        _map = map;
        _blocks = blocks;
        _sectors = new ParentSectors(file, parent, metadata.SectorBytes);
        _blockBits = BitOperations.Log2((uint)metadata.BlockBytes);
        WriteBack = new StagedWriteBack(file, dataFile: null, blocks, BlockChanges.StageCount, journal);
    }

    public StagedWriteBack WriteBack { get; }

    public Poison Poison => _map.Poison;

    public bool IsWriteBackDue => _blocks.NeedsCommit;

    public IUnitDrops? Drops => _metadata.IsFixed ? null : this;

    /// <summary>A page of the file system.</summary>
    public long PunchBytes => 4096;

    public bool SaysPartialZeroes => false;

    public long UnitBytes => _metadata.BlockBytes;

    public long FirstBytes => 0;

    public bool ArePartsSlow => _metadata.HasParent;

    public void Prepare() => _blocks.Prepare();

    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes) =>
        TryStore(offsetBytes, data.Length, data, out doneBytes);

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes) =>
        TryStore(offsetBytes, run.LengthBytes, default, out doneBytes);

    public bool TryDrop(BlockRange range, bool isDiscard, out long doneBytes)
    {
        long block = range.OffsetBytes >> _blockBits;
        doneBytes = _metadata.BlockBytes;
        lock (LockOf(block))
        {
            BatEntry entry = _map.FindEntry(block);
            bool hidesParent = _metadata.HasParent && entry.State == BlockState.NotPresent;
            if (!entry.IsPresent && !hidesParent)
            {
                return true;
            }

            if (entry.IsPresent)
            {
                _map.CheckPlace(block, entry);
            }

            Prepare();
            return _blocks.TryDropBlock(block, entry, isDiscard);
        }
    }

    public void Reclaim() => _blocks.Reclaim();

    // Zeros where the data is empty.
    private bool TryStore(long offsetBytes, long lengthBytes, ReadOnlySpan<byte> data, out long doneBytes)
    {
        long block = offsetBytes >> _blockBits;
        doneBytes = 0;
        lock (LockOf(block))
        {
            MappedRun run = _map.Map(offsetBytes, lengthBytes, isContiguous: true);
            if (run.Kind == RunKind.Data)
            {
                return true;
            }

            BatEntry entry = _map.FindEntry(block);
            FreeSpace? taken = entry.IsPresent ? null : _blocks.TakeSpace();
            bool isStored = false;
            try
            {
                long fileBytes = taken?.OffsetBytes ?? entry.OffsetBytes;
                if (run.Kind != RunKind.Parent)
                {
                    if (taken is { IsZero: false } space)
                    {
                        _file.Zero(space.OffsetBytes, space.LengthBytes);
                        taken = space with { IsZero = true };
                    }

                    isStored = _blocks.TryStoreBlock(block, fileBytes);
                    return isStored;
                }

                data = data.IsEmpty ? data : data[..(int)run.LengthBytes];
                taken = taken is { } used ? used with { IsZero = false } : null;
                isStored = TryStoreOverParent(block, fileBytes, offsetBytes, run.LengthBytes, data);
                doneBytes = isStored ? run.LengthBytes : 0;
                return isStored;
            }
            finally
            {
                if (!isStored && taken is { } unused)
                {
                    _blocks.GiveSpace(unused);
                }
            }
        }
    }

    private Lock LockOf(long block) => _blockLocks[block % BlockLockCount];

    private bool TryStoreOverParent(
        long block, long blockFileBytes, long offsetBytes, long lengthBytes, ReadOnlySpan<byte> data)
    {
        _sectors.Store(blockFileBytes + (offsetBytes & (_metadata.BlockBytes - 1)), offsetBytes, lengthBytes, data);
        BlockRange sectors = _sectors.Around(offsetBytes, lengthBytes);
        return sectors.LengthBytes == _metadata.DiskBytesOf(block)
            ? _blocks.TryStoreBlock(block, blockFileBytes)
            : _blocks.TryStoreSectors(block, blockFileBytes, sectors.OffsetBytes, sectors.LengthBytes);
    }
}
