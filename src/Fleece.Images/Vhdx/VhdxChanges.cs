// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Maps;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Changes the map of a VHDX image: stores, zeroes and drops parts of its disk over <see cref="BlockChanges"/>.</summary>
/// <remarks>
/// <para>A block that reads as zeros gets space that reads as zeros, so its entry is changed before the bytes are written. Where the parent
/// shows through it is the other way round: first the sectors are written, then their bits are set, so that neither readers nor a crash
/// see sectors without content; writers of one block take turns for that. A drop takes the entry away and queues the space, which is used
/// again only when every request that may have seen it has ended and the log has the change (<see cref="FileSpace"/>).</para>
/// <para>Blocks of a fixed image keep their places, so nothing is dropped there. Zeros over the parent are always stored.</para>
/// </remarks>
internal sealed class VhdxChanges : IImageChanges, IUnitDrops
{
    private const int BlockLockCount = 64;
    private const int ZeroesBytes = 256 * 1024;

    // Shared by all images; nothing writes to it.
    private static readonly byte[] Zeroes = new byte[ZeroesBytes];

    private readonly IContainerFile _file;
    private readonly VhdxMetadata _metadata;
    private readonly VhdxMap _map;
    private readonly BlockChanges _blocks;
    private readonly ParentImage? _parent;
    private readonly int _blockBits;

    // A lock may be held across I/O on its blocks.
    private readonly Lock[] _blockLocks = [.. Enumerable.Range(0, BlockLockCount).Select(_ => new Lock())];

    /// <param name="file">The image.</param>
    /// <param name="metadata">Its sizes.</param>
    /// <param name="map">What lies where.</param>
    /// <param name="blocks">Changes that.</param>
    /// <param name="parent">What shows through; null for zeros.</param>
    public VhdxChanges(IContainerFile file, VhdxMetadata metadata, VhdxMap map, BlockChanges blocks, ParentImage? parent)
    {
        _file = file;
        _metadata = metadata;
        _map = map;
        _blocks = blocks;
        _parent = parent;
        _blockBits = BitOperations.Log2((uint)metadata.BlockBytes);
        WriteBack = new StagedWriteBack(file, dataFile: null, blocks, BlockChanges.StageCount);
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

    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes)
    {
        long block = offsetBytes >> _blockBits;
        doneBytes = 0;
        lock (LockOf(block))
        {
            MappedRun run = _map.Map(offsetBytes, data.Length, isContiguous: true);
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

                data = data[..(int)run.LengthBytes];
                taken = taken is { } used ? used with { IsZero = false } : null;
                isStored = TryStoreOverParent(block, fileBytes, offsetBytes, data);
                doneBytes = isStored ? data.Length : 0;
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

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes) =>
        TryStore(offsetBytes, Zeroes.AsSpan(0, (int)Math.Min(run.LengthBytes, ZeroesBytes)), out doneBytes);

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

    private Lock LockOf(long block) => _blockLocks[block % BlockLockCount];

    private bool TryStoreOverParent(long block, long blockFileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        BlockRange sectors = RoundOutward(new BlockRange(offsetBytes, data.Length));
        long fileBytes = blockFileBytes + (sectors.OffsetBytes & (_metadata.BlockBytes - 1));
        if (sectors.LengthBytes == data.Length)
        {
            _file.Write(fileBytes, data);
        }
        else
        {
            WriteMerged(sectors, fileBytes, offsetBytes, data);
        }

        bool isWhole = sectors.LengthBytes == _metadata.DiskBytesOf(block);
        return isWhole
            ? _blocks.TryStoreBlock(block, blockFileBytes)
            : _blocks.TryStoreSectors(block, blockFileBytes, sectors.OffsetBytes, sectors.LengthBytes);
    }

    // The first and the last sector are filled up from the parent where the data does not cover them.
    private void WriteMerged(BlockRange sectors, long fileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        Span<byte> sector = stackalloc byte[_metadata.SectorBytes];
        long atBytes = sectors.OffsetBytes;
        while (!data.IsEmpty)
        {
            int skippedBytes = (int)(offsetBytes - atBytes);
            int partBytes = Math.Min(data.Length, sector.Length - skippedBytes);
            if (partBytes == sector.Length)
            {
                partBytes = data.Length & -sector.Length;
                _file.Write(fileBytes, data[..partBytes]);
            }
            else
            {
                sector.Clear();
                _parent?.Read(atBytes, sector);
                data[..partBytes].CopyTo(sector[skippedBytes..]);
                _file.Write(fileBytes, sector);
            }

            long nextBytes = (offsetBytes + partBytes + sector.Length - 1) & -sector.Length;
            fileBytes += nextBytes - atBytes;
            atBytes = nextBytes;
            offsetBytes += partBytes;
            data = data[partBytes..];
        }
    }

    private BlockRange RoundOutward(BlockRange range)
    {
        long mask = _metadata.SectorBytes - 1;
        return BlockRange.FromEnds(range.OffsetBytes & ~mask, (range.EndBytes + mask) & ~mask);
    }
}
