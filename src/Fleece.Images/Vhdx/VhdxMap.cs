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

/// <summary>The map of a VHDX image, by its BAT and its sector bitmaps (MS-VHDX sections 2.4 and 2.5).</summary>
/// <remarks>
/// <para>Behind the entries of every chunk of payload blocks stands the entry of the chunk's sector bitmap block, also in images
/// without a parent.</para>
/// <para>Threading and ownership as <see cref="IImageMap"/> says. Look-ups take no lock; changes (<see cref="BlockChanges"/>) come under
/// the metadata lock (<see cref="MetadataPages.Sync"/>).</para>
/// </remarks>
internal sealed class VhdxMap : IImageMap
{
    private readonly VhdxHeaders _headers;
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
    /// <param name="options">How it is opened.</param>
    /// <param name="scan">The file's free space; null when it was not looked for.</param>
    /// <param name="parent">What a change reads around it; null for zeros.</param>
    /// <param name="journal">Gets the changes of the tables, for an image that is open for writing; null for none.</param>
    public VhdxMap(
        IContainerFile view,
        VhdxStructure structure,
        ImageOpenOptions options,
        BatScan? scan,
        ParentImage? parent,
        ImageJournal? journal)
    {
        DataFile = view;
        _headers = structure.Headers;
        _metadata = structure.Metadata;
        _ownRanges = [.. structure.OwnRanges];
        _batOffsetBytes = structure.Regions.Bat.OffsetBytes;
        _blockBits = BitOperations.Log2((uint)_metadata.BlockBytes);
        _sectorBits = BitOperations.Log2((uint)_metadata.SectorBytes);
        _chunkBits = BitOperations.Log2((ulong)_metadata.ChunkRatio);
        _viewBytes = view.GetLength();
        long cacheBytes = options.MetadataCacheBytes ?? VhdxLimits.MetadataCacheBytes;
        int dirtyLimit = view.IsReadOnly ? 1 : BlockChanges.FindDirtyLimit(structure);
        Pages = new MetadataPages(view, cacheBytes, _metadata.TablePageCount, dirtyLimit, view.IsReadOnly ? null : journal);
        Bits = new SectorBitmaps(Pages);
        Poison = new Poison(cause => FormatFault.Vhdx.Stopped(view.Path, cause));
        if (!view.IsReadOnly)
        {
            _space = new FileSpace(view, scan, _metadata.BlockBytes) { GrowthBytes = options.GrowthBytes ?? VhdxLimits.GrowthBytes };
            BlockChanges blocks = new(this, structure, _space, options.MustKeepIdentity, journal);
            Changes = new VhdxChanges(view, _metadata, this, blocks, parent, journal);
        }
    }

    public ImageFormat Format => ImageFormat.Vhdx;

    public long SizeBytes => _metadata.SizeBytes;

    public IContainerFile DataFile { get; }

    public bool HasHoles => false;

    public int RunsPerStatusQuery => VhdxLimits.RunsPerStatusQuery;

    public Epochs Epochs { get; } = new();

    public IPackedData? Packed => null;

    public IImageChanges? Changes { get; }

    /// <summary>What a child records of the state it was made over.</summary>
    public Guid DataWriteGuid => _headers.Current.DataWriteGuid;

    /// <summary>Logical sector size, which a child shares.</summary>
    public int SectorBytes => _metadata.SectorBytes;

    public MetadataPages Pages { get; }

    public SectorBitmaps Bits { get; }

    public Poison Poison { get; }

    private long FileBytes => _space?.FileBytes ?? _viewBytes;

    /// <inheritdoc/>
    /// <remarks>The run ends with its block. Stored bytes stay in their place, so data is always writable.</remarks>
    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        long block = offsetBytes >> _blockBits;
        long inBlockBytes = offsetBytes & (_metadata.BlockBytes - 1);
        long runBytes = Math.Min(lengthBytes, _metadata.BlockBytes - inBlockBytes);
        BatEntry entry = FindEntry(block);
        switch (entry.State)
        {
            case BlockState.FullyPresent:
                CheckPlace(block, entry);
                return new MappedRun(RunKind.Data, runBytes, entry.OffsetBytes + inBlockBytes, IsWritable: true);
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

    /// <summary>The entry of a payload block.</summary>
    public BatEntry FindEntry(long block) => Entry(BatIndex(block));

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

        return entry.FindMisplacement(VhdxFormat.MiB, FileBytes, _ownRanges) is { } misplacement
            ? throw Misplaced(index, entry, misplacement)
            : entry.OffsetBytes;
    }

    /// <summary>Refuses a block that can't be where its entry says.</summary>
    /// <exception cref="BlockException">Corrupt.</exception>
    public void CheckPlace(long block, BatEntry entry)
    {
        if (entry.FindMisplacement(_metadata.DiskBytesOf(block), FileBytes, _ownRanges) is { } misplacement)
        {
            throw Misplaced(BatIndex(block), entry, misplacement);
        }
    }

    public void Dispose()
    {
    }

    private MappedRun MapSectors(long offsetBytes, long lengthBytes, long fileOffsetBytes)
    {
        long first = BitOf(offsetBytes);
        long end = BitOf(offsetBytes + lengthBytes - 1) + 1;
        long count = Bits.CountRun(FindBitmap(offsetBytes >> _blockBits), first, end, out bool isStored);
        long runEndBytes = (offsetBytes & -_metadata.SectorBytes) + (count << _sectorBits);
        long runBytes = Math.Min(lengthBytes, runEndBytes - offsetBytes);
        return isStored
            ? new MappedRun(RunKind.Data, runBytes, fileOffsetBytes, IsWritable: true)
            : new MappedRun(RunKind.Parent, runBytes);
    }

    private BlockException Misplaced(long batIndex, BatEntry entry, string what) =>
        FormatFault.Vhdx.Corrupt(DataFile.Path, $"BAT entry {batIndex} is 0x{entry.Value:x16}, which {what}", EntryOffsetBytes(batIndex));
}
