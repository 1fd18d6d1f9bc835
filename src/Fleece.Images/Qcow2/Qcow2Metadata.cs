// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>A run of the disk with one kind of mapping.</summary>
/// <param name="Kind">What the L2 entries say.</param>
/// <param name="LengthBytes">At least 1.</param>
/// <param name="HostOffsetBytes">For data: where its first byte is in the file that holds data.</param>
/// <param name="IsCopied">For data: it may be changed in place.</param>
/// <param name="Entry">For a compressed cluster: its L2 entry.</param>
internal readonly record struct MappedRun(
    ClusterKind Kind, long LengthBytes, long HostOffsetBytes = 0, bool IsCopied = false, ulong Entry = 0);

/// <summary>The tables of an image: which host cluster holds which guest cluster.</summary>
/// <remarks>
/// <para>A guest offset splits into L1 index, L2 index and offset in the cluster (qcow2.txt, "Cluster mapping"); an L2
/// table is one cluster of 8-byte entries, or of 16-byte ones that map subclusters ("Extended L2 Entries"). Of a table,
/// slices are kept in memory.</para>
/// <para>Threading. Mappings are looked up without a lock as long as the L2 slice is in memory. Slices are loaded and
/// changed under <see cref="Sync"/>, which is never held across the guest's own I/O.</para>
/// </remarks>
internal sealed partial class Qcow2Metadata
{
    private readonly Qcow2Header _header;
    private readonly MetadataFile _file;
    private readonly ulong[] _l1;
    private readonly int _clusterBits;
    private readonly int _subclusterBits;
    private readonly int _tableBits;
    private readonly int _sliceBits;
    private readonly int _entryMask;
    private readonly bool _isExtended;
    private readonly bool _hasDataFile;
    private readonly long _parentEndBytes;
    private readonly MetadataClusters? _ownClusters;

    /// <summary>Reads the L1 table, and for a writable image the refcount table and the snapshots' tables.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt, and read errors.</exception>
    public Qcow2Metadata(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
    {
        _header = header;
        _clusterBits = header.ClusterBits;
        _subclusterBits = header.SubclusterBits;
        _tableBits = header.ClusterBits + header.L2EntryBits;
        _sliceBits = header.ClusterBits + header.L2SliceEntryBits;
        _entryMask = (1 << header.L2SliceEntryBits) - 1;
        _isExtended = header.IsExtended;
        _hasDataFile = header.HasDataFile;
        _parentEndBytes = attachments.Parent?.Layer.LengthBytes ?? 0;
        Poison = new Poison(cause => Qcow2Fault.Stopped(file.Path, cause));
        _file = new MetadataFile(file, Poison);
        _l1 = L1Table.Read(file, header, header.L1OffsetBytes, header.L1Entries);
        Cache = new L2Cache(header, Qcow2Limits.L2Share(attachments.MetadataCacheBytes));
        Freed = new FreedClusters(_clusterBits);
        Extensions = header.Extensions;
        AutoclearFeatures = header.AutoclearFeatures;
        _mustClearAutoclear = (AutoclearFeatures & ~_keptAutoclear) != 0;
        if (!file.IsReadOnly)
        {
            Refcounts = new RefcountStore(
                _file, header, Qcow2Limits.RefcountShare(attachments.MetadataCacheBytes));
            Allocator = new ClusterAllocator(_file, header, Refcounts);
            _ownClusters = MetadataClusters.Read(file, header, _l1, Refcounts);
        }
    }

    /// <summary>The metadata lock. Short: table lookups and changes, loading a slice, growing the file.</summary>
    public Lock Sync { get; } = new();

    public Epochs Epochs { get; } = new();

    public Poison Poison { get; }

    public L2Cache Cache { get; }

    /// <summary>
    /// The mapping at a guest offset, and how far it goes: within one L2 slice, or over all that no table describes.
    /// </summary>
    /// <param name="offsetBytes">Guest offset, within the disk.</param>
    /// <param name="lengthBytes">At least 1; the run is not longer.</param>
    /// <param name="isContiguous">True when the run must be contiguous in the file too.</param>
    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        while (true)
        {
            if (FindSlice(offsetBytes, out int filling) is not { } slice)
            {
                int l1Index = L1Index(offsetBytes);
                long emptyEndBytes = (l1Index + 1L + CountEmptyTables(l1Index + 1)) << _tableBits;
                return new MappedRun(ClusterKind.Unallocated, Math.Min(lengthBytes, emptyEndBytes - offsetBytes));
            }

            long endBytes = Math.Min(offsetBytes + lengthBytes, SliceEnd(offsetBytes));
            MappedRun run = _isExtended
                ? MapSubclusters(slice, offsetBytes, endBytes, isContiguous)
                : MapClusters(slice, offsetBytes, endBytes, isContiguous);
            if (slice.IsStill(filling))
            {
                return run;
            }
        }
    }

    /// <summary>The error of a request that meets an entry which contradicts the format.</summary>
    public Fleece.Block.BlockException Unusable(long offsetBytes) => Qcow2Fault.Corrupt(
        _file.Path,
        $"the L2 entry of disk offset {offsetBytes} has reserved bits, or points at no cluster of the file, or " +
        "at the image's own tables",
        offsetBytes);

    private MappedRun MapClusters(L2Slice slice, long offsetBytes, long endBytes, bool isContiguous)
    {
        int first = IndexInSlice(offsetBytes);
        int most = IndexInSlice(endBytes - 1) - first + 1;
        ulong entry = slice[first];
        ClusterKind kind = L2Entry.Kind(entry);
        int count = kind switch
        {
            ClusterKind.Unallocated => Math.Max(1, slice.CountUnallocated(first, most)),
            ClusterKind.Data when isContiguous => CountContiguous(slice, first, most, entry),
            ClusterKind.Data or ClusterKind.Zero => CountKind(slice, first, most, kind),
            _ => 1,
        };

        long runEndBytes = Math.Min(endBytes, ((offsetBytes >> _clusterBits) + count) << _clusterBits);
        return Run(slice, kind, entry, offsetBytes, runEndBytes);
    }

    private static int CountKind(L2Slice slice, int first, int most, ClusterKind kind)
    {
        int count = 1;
        while (count < most && L2Entry.Kind(slice[first + count]) == kind)
        {
            count++;
        }

        return count;
    }

    private int CountContiguous(L2Slice slice, int first, int most, ulong entry)
    {
        int count = 1;
        while (count < most && slice[first + count] == entry + ((ulong)count << _clusterBits))
        {
            count++;
        }

        return count;
    }

    private MappedRun MapSubclusters(L2Slice slice, long offsetBytes, long endBytes, bool isContiguous)
    {
        L2Descriptor first = slice.Read(IndexInSlice(offsetBytes));
        ClusterKind kind = Subclusters.Kind(first, IndexInCluster(offsetBytes));
        long atBytes = offsetBytes;
        for (L2Descriptor next = first; atBytes < endBytes; next = slice.Read(IndexInSlice(atBytes)))
        {
            int subcluster = IndexInCluster(atBytes);
            long clusterBytes = atBytes & -_header.ClusterBytes;
            bool isSame = Subclusters.Kind(next, subcluster) == kind;
            if (isSame && isContiguous && kind == ClusterKind.Data)
            {
                ulong expected = first.Entry + (ulong)(clusterBytes - (offsetBytes & -_header.ClusterBytes));
                isSame = next.Entry == expected;
            }

            if (!isSame)
            {
                break;
            }

            int run = Subclusters.RunLength(next, subcluster);
            atBytes = clusterBytes + ((long)(subcluster + run) << _subclusterBits);
            if (kind is ClusterKind.Compressed or ClusterKind.Invalid || atBytes >= endBytes)
            {
                break;
            }
        }

        return Run(slice, kind, first.Entry, offsetBytes, Math.Min(atBytes, endBytes));
    }

    private MappedRun Run(L2Slice slice, ClusterKind kind, ulong entry, long offsetBytes, long endBytes) => kind switch
    {
        ClusterKind.Data => new MappedRun(
            kind,
            endBytes - offsetBytes,
            L2Entry.HostOffset(entry) + (offsetBytes & (_header.ClusterBytes - 1)),
            (_hasDataFile || (entry & L2Entry.Copied) != 0) && slice.RefcountFault is null),
        ClusterKind.Compressed => new MappedRun(kind, endBytes - offsetBytes, Entry: entry),
        _ => new MappedRun(kind, endBytes - offsetBytes),
    };

    private int CountEmptyTables(int l1Index)
    {
        ReadOnlySpan<ulong> rest = _l1.AsSpan(l1Index);
        int found = rest.IndexOfAnyExcept(0UL);
        return found < 0 ? rest.Length : found;
    }

    private int L1Index(long offsetBytes) => (int)(offsetBytes >> _tableBits);

    private long SliceEnd(long offsetBytes) => ((offsetBytes >> _sliceBits) + 1) << _sliceBits;

    private int IndexInSlice(long offsetBytes) => (int)(offsetBytes >> _clusterBits) & _entryMask;

    private int IndexInCluster(long offsetBytes) => (int)(offsetBytes >> _subclusterBits) & (Subclusters.Count - 1);
}
