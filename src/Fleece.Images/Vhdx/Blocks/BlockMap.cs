// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>Where the bytes of a run come from.</summary>
internal enum RunKind
{
    /// <summary>From the file.</summary>
    Data,

    /// <summary>From nowhere: the image says that they are zeros.</summary>
    Zero,

    /// <summary>From nowhere: the image has never stored any, or they were discarded, and they read as zeros.</summary>
    Unallocated,

    /// <summary>From the parent.</summary>
    Parent,
}

/// <summary>A run of the disk within one block.</summary>
/// <param name="Kind">Where its bytes come from.</param>
/// <param name="LengthBytes">At least 1.</param>
/// <param name="FileOffsetBytes">For data: where its first byte is in the file.</param>
internal readonly record struct MappedRun(RunKind Kind, long LengthBytes, long FileOffsetBytes = 0);

/// <summary>The BAT and the sector bitmaps: what is stored where (MS-VHDX sections 2.4 and 2.5).</summary>
/// <remarks>
/// <para>Behind the entries of every chunk of payload blocks stands the entry of the chunk's sector bitmap block, also in images
/// without a parent.</para>
/// <para>Threading. Look-ups from any thread without a lock; changes (<see cref="BlockChanges"/>) under the metadata lock
/// (<see cref="MetadataPages.Sync"/>), which is never held across the guest's own I/O.</para>
/// </remarks>
internal sealed class BlockMap
{
    private readonly string _path;
    private readonly VhdxMetadata _metadata;
    private readonly BlockRange[] _ownRanges;
    private readonly long _batOffsetBytes;
    private readonly int _blockBits;
    private readonly int _sectorBits;
    private readonly int _chunkBits;
    private readonly long _viewBytes;
    private readonly FileSpace? _space;

    /// <param name="view">The file, with its log replayed.</param>
    /// <param name="structure">Its structures.</param>
    /// <param name="cacheBytes">Memory for pages.</param>
    /// <param name="space">The file's space; null for a read-only image.</param>
    public BlockMap(IContainerFile view, VhdxStructure structure, long cacheBytes, FileSpace? space)
    {
        _path = view.Path;
        _metadata = structure.Metadata;
        _ownRanges = [.. structure.OwnRanges];
        _batOffsetBytes = structure.Regions.Bat.OffsetBytes;
        _blockBits = BitOperations.Log2((uint)_metadata.BlockBytes);
        _sectorBits = BitOperations.Log2((uint)_metadata.SectorBytes);
        _chunkBits = BitOperations.Log2((ulong)_metadata.ChunkRatio);
        _viewBytes = view.GetLength();
        _space = space;
        Pages = new MetadataPages(view, cacheBytes);
        Bits = new SectorBitmaps(Pages);
        Poison = new Poison(cause => VhdxFault.Stopped(_path, cause));
    }

    public MetadataPages Pages { get; }

    public SectorBitmaps Bits { get; }

    public Epochs Epochs { get; } = new();

    public Poison Poison { get; }

    /// <summary>The bytes of a block that the disk has, fewer than a block at its end.</summary>
    public static long LeastBytes(VhdxMetadata metadata, long block) =>
        Math.Min(metadata.BlockBytes, metadata.SizeBytes - (block * metadata.BlockBytes));

    /// <summary>Why a block can't be where its entry says; null when it can.</summary>
    public static string? FindMisplacement(BatEntry entry, long lengthBytes, long fileBytes, ReadOnlySpan<BlockRange> ownRanges)
    {
        if (entry.OffsetBytes <= 0 || entry.OffsetBytes > fileBytes - lengthBytes)
        {
            return $"is not within the file of {fileBytes} bytes";
        }

        BlockRange block = new(entry.OffsetBytes, lengthBytes);
        foreach (BlockRange range in ownRanges)
        {
            if (block.Overlaps(range))
            {
                return $"overlaps the image's own structures at {range.OffsetBytes}";
            }
        }

        return null;
    }

    /// <summary>The entry of a payload block.</summary>
    public BatEntry FindEntry(long block) => Entry(BatIndex(block));

    /// <summary>The run at a disk offset, as far as it goes within its block.</summary>
    public MappedRun Map(long offsetBytes, long lengthBytes)
    {
        long block = offsetBytes >> _blockBits;
        long inBlockBytes = offsetBytes & (_metadata.BlockBytes - 1);
        long runBytes = Math.Min(lengthBytes, _metadata.BlockBytes - inBlockBytes);
        BatEntry entry = FindEntry(block);
        switch (entry.State)
        {
            case BlockState.FullyPresent:
                CheckPlace(block, entry);
                return new MappedRun(RunKind.Data, runBytes, entry.OffsetBytes + inBlockBytes);
            case BlockState.PartiallyPresent when _metadata.HasParent:
                CheckPlace(block, entry);
                return MapSectors(offsetBytes, runBytes, entry.OffsetBytes + inBlockBytes);
            case BlockState.NotPresent:
                return new MappedRun(_metadata.HasParent ? RunKind.Parent : RunKind.Unallocated, runBytes);
            case BlockState.Undefined or BlockState.Zero or BlockState.Unmapped or BlockState.UnmappedOld:
                bool isZero = _metadata.HasParent || entry.State == BlockState.Zero;
                return new MappedRun(isZero ? RunKind.Zero : RunKind.Unallocated, runBytes);
            default:
                throw Misplaced(BatIndex(block), entry, "is no state of a block in this image");
        }
    }

    /// <summary>The index of a payload block's entry.</summary>
    public long BatIndex(long block) => block + (block >> _chunkBits);

    /// <summary>The index of the entry of the sector bitmap block of a payload block's chunk.</summary>
    public long BitmapIndex(long block) => (((block >> _chunkBits) + 1) << _chunkBits) + (block >> _chunkBits);

    /// <summary>Where an entry is in the file.</summary>
    public long EntryOffsetBytes(long batIndex) => _batOffsetBytes + (batIndex * sizeof(ulong));

    public BatEntry Entry(long batIndex) =>
        new(Pages.Find(EntryOffsetBytes(batIndex))[(int)(batIndex % MetadataPage.WordCount)]);

    /// <summary>The bit of a sector within its chunk's bitmap, by its disk offset.</summary>
    public long BitOf(long offsetBytes) => (offsetBytes >> _sectorBits) & (VhdxFormat.SectorsPerChunk - 1);

    /// <summary>The offset of the bitmap of a payload block's chunk in the file.</summary>
    /// <exception cref="BlockException">Corrupt: it is not there, or where it can't be.</exception>
    public long FindBitmap(long block)
    {
        long index = BitmapIndex(block);
        BatEntry entry = Entry(index);
        if (entry.State != BlockState.FullyPresent)
        {
            throw Misplaced(index, entry, $"is the sector bitmap block of block {block}, which is partially present, and not there");
        }

        return FindMisplacement(entry, VhdxFormat.MiB, FileBytes, _ownRanges) is { } misplacement
            ? throw Misplaced(index, entry, misplacement)
            : entry.OffsetBytes;
    }

    /// <summary>Refuses a block that can't be where its entry says.</summary>
    /// <exception cref="BlockException">Corrupt.</exception>
    public void CheckPlace(long block, BatEntry entry)
    {
        if (FindMisplacement(entry, LeastBytes(_metadata, block), FileBytes, _ownRanges) is { } misplacement)
        {
            throw Misplaced(BatIndex(block), entry, misplacement);
        }
    }

    private long FileBytes => _space?.FileBytes ?? _viewBytes;

    private MappedRun MapSectors(long offsetBytes, long lengthBytes, long fileOffsetBytes)
    {
        long first = BitOf(offsetBytes);
        long end = BitOf(offsetBytes + lengthBytes - 1) + 1;
        long count = Bits.CountRun(FindBitmap(offsetBytes >> _blockBits), first, end, out bool isStored);
        long runEndBytes = (offsetBytes & -_metadata.SectorBytes) + (count << _sectorBits);
        long runBytes = Math.Min(lengthBytes, runEndBytes - offsetBytes);
        return isStored ? new MappedRun(RunKind.Data, runBytes, fileOffsetBytes) : new MappedRun(RunKind.Parent, runBytes);
    }

    private BlockException Misplaced(long batIndex, BatEntry entry, string what) =>
        VhdxFault.Corrupt(_path, $"BAT entry {batIndex} is 0x{entry.Value:x16}, which {what}", EntryOffsetBytes(batIndex));
}
