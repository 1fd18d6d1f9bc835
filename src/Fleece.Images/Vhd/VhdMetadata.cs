// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>The tables of a dynamic or differencing image: where blocks are, and which sectors they hold.</summary>
/// <remarks>
/// <para>Everything here only ever becomes more: blocks are allocated and never given back, bits are set and never cleared.
/// So a request may use what it has looked up for as long as it likes, and nobody has to wait for it.</para>
/// <para>Threading. Looked up without a lock as long as the bitmap is in memory. Bitmaps are loaded and everything is changed
/// under <see cref="Sync"/>, which is never held across the guest's own I/O.</para>
/// </remarks>
internal sealed class VhdMetadata
{
    private readonly IContainerFile _file;
    private readonly VhdHeader _header;
    private readonly VhdFooters _footers;
    private readonly BlockAllocator? _allocator;
    private readonly int _sectorsPerBlock;
    private readonly uint[] _fullBlocks;
    private volatile bool _isPrepared;
    private int _newBlockCount;

    /// <summary>Reads the block allocation table and judges it.</summary>
    /// <exception cref="BlockException">Corrupt, where the image is to be written; read errors.</exception>
    public VhdMetadata(
        IContainerFile file, VhdFooters footers, VhdHeader header, long cacheBytes, long growthBytes, ImageJournal? journal)
    {
        Journal = journal;
        _file = file;
        _header = header;
        _footers = footers;
        IsDifferencing = footers.Footer.Type == VhdDiskType.Differencing;
        _sectorsPerBlock = header.BlockBytes / VhdLimits.SectorBytes;
        _fullBlocks = new uint[(header.BlockCount + 31) / 32];
        Poison = new Poison(cause => FormatFault.Vhd.Stopped(file.Path, cause));
        Table = VhdBlockTable.Read(file, header);
        Table.FindFaults(header, footers.ContentEndBytes, OnFault);
        int room = (int)Math.Clamp(cacheBytes / header.BitmapBytes, VhdLimits.MinCachedBitmaps, int.MaxValue);
        Bitmaps = new ClockCache<SectorBitmap>(
            Math.Clamp(header.BlockCount, VhdLimits.MinCachedBitmaps, room), Math.Max(1, room / VhdLimits.DirtyShareOfCache));
        if (!file.IsReadOnly)
        {
            _allocator = new BlockAllocator(file, footers, header, Table, Poison, growthBytes);
        }
    }

    /// <summary>The metadata lock. Short: look-ups and changes, loading a bitmap, growing the file.</summary>
    public Lock Sync { get; } = new();

    public Poison Poison { get; }

    /// <summary>Gets every change before it is made; null for none.</summary>
    public ImageJournal? Journal { get; }

    /// <summary>True when the image has a parent, which shows through where a sector's bit is not set.</summary>
    public bool IsDifferencing { get; }

    public VhdBlockTable Table { get; }

    public ClockCache<SectorBitmap> Bitmaps { get; }

    /// <summary>Blocks whose table entry is not on disk yet, in the order of their allocation.</summary>
    public List<int> NewBlocks { get; } = [];

    /// <summary>True once <see cref="Prepare"/> was called.</summary>
    public bool IsPrepared => _isPrepared;

    /// <summary>True when a request should write metadata back before it makes more of it. Any thread.</summary>
    public bool NeedsWriteBack => Bitmaps.IsFullOfChanges || Volatile.Read(ref _newBlockCount) >= VhdLimits.MaxNewBlocks
        || Journal is { IsDue: true };

    /// <summary>Where a block's table entry is in the file.</summary>
    public long EntryOffsetBytes(int block) => _header.TableOffsetBytes + ((long)block * sizeof(uint));

    /// <summary>Where a block's data begins in the file.</summary>
    public long DataOffsetBytes(uint sector) => ((long)sector * VhdLimits.SectorBytes) + _header.BitmapBytes;

    /// <summary>The block's sector in the file, or <see cref="VhdBlockTable.Free"/>.</summary>
    /// <exception cref="BlockException">Corrupt: the table's entry can't be right.</exception>
    public uint Find(int block)
    {
        uint sector = Table[block];
        return sector != VhdBlockTable.Invalid ? sector : throw FormatFault.Vhd.Corrupt(
            _file.Path,
            $"entry {block} of the block allocation table lies beyond the end of the file, on the image's own tables or on " +
            $"another block, so the disk can't be read from {(long)block << _header.BlockBits} on for {_header.BlockBytes} bytes",
            EntryOffsetBytes(block));
    }

    /// <summary>True when the block is known to hold all of its sectors.</summary>
    public bool IsFull(int block) => (Volatile.Read(ref _fullBlocks[block / 32]) & (1u << (block % 32))) != 0;

    /// <summary>True when nothing shows through an allocated block: it holds all of its sectors, or there is no parent.</summary>
    public bool HoldsAll(int block) => !IsDifferencing || IsFull(block);

    /// <summary>The bitmap of an allocated block.</summary>
    public SectorBitmap FindBitmap(int block)
    {
        if (Bitmaps.TryFind(block, out _) is { } cached)
        {
            return cached;
        }

        lock (Sync)
        {
            return FindBitmapLocked(block);
        }
    }

    /// <summary>Makes the image ready for its first change.</summary>
    public void Prepare()
    {
        if (_isPrepared)
        {
            return;
        }

        lock (Sync)
        {
            Poison.ThrowIfSet();
            if (!_isPrepared)
            {
                _allocator!.RepairFooters();
                _isPrepared = true;
            }
        }
    }

    /// <summary>Gives a block its place, if it has none yet.</summary>
    /// <returns>The block's sector in the file.</returns>
    public uint Allocate(int block)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            uint sector = Find(block);
            if (sector != VhdBlockTable.Free)
            {
                return sector;
            }

            SectorBitmap bitmap = new(block, _header.BitmapBytes);
            if (IsDifferencing)
            {
                sector = _allocator!.Allocate([]);
                bitmap.IsNew = true;
                Insert(bitmap);
                Bitmaps.MarkDirty(bitmap);
            }
            else
            {
                // Nobody reads the bitmap of a dynamic image here, but others do: the whole block counts.
                bitmap.Set(0, _sectorsPerBlock);
                sector = _allocator!.Allocate(bitmap.Bytes);
                MarkFull(block);
            }

            NoteEntry(block, sector);
            NewBlocks.Add(block);
            Volatile.Write(ref _newBlockCount, NewBlocks.Count);
            Table.Set(block, sector);
            return sector;
        }
    }

    /// <summary>Notes that an allocated block holds sectors, whose bytes the file has already.</summary>
    public void SetPresent(int block, int sector, int count)
    {
        if (FindBitmap(block).HasAll(sector, count))
        {
            return;
        }

        lock (Sync)
        {
            Poison.ThrowIfSet();
            SectorBitmap bitmap = FindBitmapLocked(block);
            NoteBits(bitmap, sector, count);
            bitmap.Set(sector, count);
            Bitmaps.MarkDirty(bitmap);
            if (bitmap.HasAll(0, _sectorsPerBlock))
            {
                MarkFull(block);
            }
        }
    }

    /// <summary>Takes the new blocks as captured for writing.</summary>
    public void ForgetNewBlocks()
    {
        NewBlocks.Clear();
        Volatile.Write(ref _newBlockCount, 0);
    }

    /// <summary>Cuts off what was grown in advance. No request may run.</summary>
    public void Finish()
    {
        lock (Sync)
        {
            _allocator!.Finish();
        }
    }

    private void NoteEntry(int block, uint sector)
    {
        if (Journal is not null)
        {
            Span<byte> entry = stackalloc byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(entry, sector);
            Journal.Note(0, EntryOffsetBytes(block), [0xff, 0xff, 0xff, 0xff], entry);
            Journal.Commit();
        }
    }

    private void NoteBits(SectorBitmap bitmap, int sector, int count)
    {
        if (Journal is null)
        {
            return;
        }

        Span<byte> word = stackalloc byte[sizeof(ulong)];
        long bitmapOffsetBytes = (long)Table[bitmap.Block] * VhdLimits.SectorBytes;
        for (int at = sector; at < sector + count; at = (at | (SectorBitmap.WordBits - 1)) + 1)
        {
            int start = at / SectorBitmap.WordBits * sizeof(ulong);
            bitmap.ReadWith(at, sector + count - at, word);
            Journal.Note(0, bitmapOffsetBytes + start, bitmap.Bytes.Slice(start, sizeof(ulong)), word);
        }

        Journal.Commit();
    }

    private SectorBitmap FindBitmapLocked(int block)
    {
        if (Bitmaps.TryFind(block, out _) is { } cached)
        {
            return cached;
        }

        SectorBitmap bitmap = new(block, _header.BitmapBytes);
        _file.Read((long)Find(block) * VhdLimits.SectorBytes, bitmap.Bytes);
        if (bitmap.HasAll(0, _sectorsPerBlock))
        {
            MarkFull(block);
        }

        Insert(bitmap);
        return bitmap;
    }

    private void Insert(SectorBitmap bitmap)
    {
        _ = Bitmaps.TryEvict();
        Bitmaps.Add(bitmap);
    }

    private void MarkFull(int block) =>
        Volatile.Write(ref _fullBlocks[block / 32], _fullBlocks[block / 32] | (1u << (block % 32)));

    // One wrong entry shows that the table is not to be trusted with writes; what can be read without it may be.
    private void OnFault(BlockFault fault)
    {
        // No guest reaches an entry behind the disk's last block.
        if (!_file.IsReadOnly && fault.Block < _header.BlockCount)
        {
            throw FormatFault.Vhd.Corrupt(
                _file.Path, fault.Describe(_header, _footers.ContentEndBytes), EntryOffsetBytes(fault.Block));
        }

        Table.Set(fault.Block, VhdBlockTable.Invalid);
    }
}
