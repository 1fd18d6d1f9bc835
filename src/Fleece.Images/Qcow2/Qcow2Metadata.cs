// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>A run of the disk with one kind of mapping.</summary>
/// <param name="Kind">What the L2 entries say.</param>
/// <param name="LengthBytes">At least 1.</param>
/// <param name="HostOffsetBytes">For data: where its first byte is in the file.</param>
/// <param name="IsCopied">For data: it may be changed in place.</param>
internal readonly record struct MappedRun(
    ClusterKind Kind, long LengthBytes, long HostOffsetBytes = 0, bool IsCopied = false);

/// <summary>The tables of an image: which host cluster holds which guest cluster.</summary>
/// <remarks>
/// <para>A guest offset splits into L1 index, L2 index and offset in the cluster (qcow2.txt, "Cluster mapping"); an L2
/// table is one cluster of 8-byte entries.</para>
/// <para>Threading. Mappings are looked up without a lock as long as the L2 table is in memory. Tables are loaded and
/// changed under <see cref="Sync"/>, which is never held across the guest's own I/O.</para>
/// </remarks>
internal sealed partial class Qcow2Metadata
{
    private readonly Qcow2Header _header;
    private readonly MetadataFile _file;
    private readonly ulong[] _l1;
    private readonly int _clusterBits;
    private readonly int _tableBits;
    private readonly int _entryMask;
    private readonly MetadataClusters? _ownClusters;

    /// <summary>Reads the L1 table, and for a writable image the refcount table.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt, and read errors.</exception>
    public Qcow2Metadata(IContainerFile file, Qcow2Header header, int l2CacheBytes)
    {
        _header = header;
        _clusterBits = header.ClusterBits;
        _tableBits = header.ClusterBits + header.L2EntryBits;
        _entryMask = (1 << header.L2EntryBits) - 1;
        Poison = new Poison(cause => Qcow2Fault.Stopped(file.Path, cause));
        _file = new MetadataFile(file, Poison);
        _l1 = ReadL1();
        Cache = new L2Cache(_l1.Length, header.ClusterBytes, l2CacheBytes);
        Freed = new FreedClusters(_clusterBits);
        _mustClearAutoclear = header.AutoclearFeatures != 0;
        if (!file.IsReadOnly)
        {
            Refcounts = new RefcountStore(_file, header);
            Allocator = new ClusterAllocator(_file, header, Refcounts);
            _ownClusters = new MetadataClusters(file.Path, header, _l1, Refcounts);
        }
    }

    /// <summary>The metadata lock. Short: table lookups and changes, loading a table, growing the file.</summary>
    public Lock Sync { get; } = new();

    public Epochs Epochs { get; } = new();

    public Poison Poison { get; }

    public L2Cache Cache { get; }

    /// <summary>
    /// The mapping at a guest offset, and how far it goes: within one L2 table, or over all that no table describes.
    /// </summary>
    /// <param name="offsetBytes">Guest offset, within the disk.</param>
    /// <param name="lengthBytes">At least 1; the run is not longer.</param>
    /// <param name="isContiguous">True when the run must be contiguous in the file too.</param>
    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        int l1Index = (int)(offsetBytes >> _tableBits);
        if (FindTable(l1Index) is not { } table)
        {
            long emptyEndBytes = (l1Index + 1L + CountEmptyTables(l1Index + 1)) << _tableBits;
            return new MappedRun(ClusterKind.Unallocated, Math.Min(lengthBytes, emptyEndBytes - offsetBytes));
        }

        long endBytes = Math.Min(offsetBytes + lengthBytes, (l1Index + 1L) << _tableBits);
        int first = IndexInTable(offsetBytes);
        int most = IndexInTable(endBytes - 1) - first + 1;
        ulong entry = table[first];
        ClusterKind kind = L2Entry.Kind(entry);
        int count = kind switch
        {
            ClusterKind.Unallocated => Math.Max(1, table.CountUnallocated(first, most)),
            ClusterKind.Data when isContiguous => CountContiguous(table, first, most, entry),
            ClusterKind.Data or ClusterKind.Zero => CountKind(table, first, most, kind),
            _ => 1,
        };

        long runEndBytes = Math.Min(endBytes, ((offsetBytes >> _clusterBits) + count) << _clusterBits);
        long hostBytes = kind == ClusterKind.Data
            ? L2Entry.HostOffset(entry) + (offsetBytes & (_header.ClusterBytes - 1))
            : 0;
        return new MappedRun(kind, runEndBytes - offsetBytes, hostBytes, (entry & L2Entry.Copied) != 0);
    }

    /// <summary>The error of a request that meets an entry which is neither data nor zeros.</summary>
    public Fleece.Block.BlockException Unusable(ClusterKind kind, long offsetBytes) => kind == ClusterKind.Compressed
        ? Qcow2Fault.Compressed(_file.Path, offsetBytes)
        : Qcow2Fault.Corrupt(
            _file.Path,
            $"the L2 entry of disk offset {offsetBytes} has reserved bits, or points at no cluster of the file, or " +
            "at the image's own tables",
            offsetBytes);

    private static int CountKind(L2Table table, int first, int most, ClusterKind kind)
    {
        int count = 1;
        while (count < most && L2Entry.Kind(table[first + count]) == kind)
        {
            count++;
        }

        return count;
    }

    private int CountContiguous(L2Table table, int first, int most, ulong entry)
    {
        int count = 1;
        while (count < most && table[first + count] == entry + ((ulong)count << _clusterBits))
        {
            count++;
        }

        return count;
    }

    private L2Table? FindTable(int l1Index)
    {
        if (Cache.TryFind(l1Index) is { } cached)
        {
            return cached;
        }

        if (Volatile.Read(ref _l1[l1Index]) == 0)
        {
            return null;
        }

        lock (Sync)
        {
            return FindTableLocked(l1Index);
        }
    }

    private L2Table? FindTableLocked(int l1Index)
    {
        if (Cache.TryFind(l1Index) is { } cached)
        {
            return cached;
        }

        if (_l1[l1Index] == 0)
        {
            return null;
        }

        L2Table table = new(l1Index, L2Entry.HostOffset(_l1[l1Index]), 1 << _header.L2EntryBits);
        _file.Read(table.HostOffsetBytes, table.Bytes);
        Validate(table);
        Cache.Add(table);
        return table;
    }

    // Once per load, so that requests need not look at more than the kind of an entry.
    private void Validate(L2Table table)
    {
        ulong inCluster = (ulong)_header.ClusterBytes - 1;
        long lengthBytes = Allocator?.FileLengthBytes ?? _header.FileLengthBytes;
        ulong fileEndBytes = (ulong)((lengthBytes + _header.ClusterBytes - 1) & -_header.ClusterBytes);
        bool hasZeroFlag = _header.Version >= 3;
        for (int i = 0; i < table.Count; i++)
        {
            ulong entry = table[i];
            if (entry == 0 || (entry & L2Entry.Compressed) != 0)
            {
                continue;
            }

            ulong offset = entry & L2Entry.OffsetMask;
            bool isZero = (entry & L2Entry.ZeroFlag) != 0;
            bool isUsable = (entry & L2Entry.ReservedMask) == 0
                && (hasZeroFlag || !isZero)
                && (isZero || offset != 0)
                && (offset & inCluster) == 0
                && offset < fileEndBytes
                && (offset == 0 || _ownClusters?.Contains((long)(offset >> _clusterBits)) != true);
            if (!isUsable)
            {
                table.Hide(i);
            }
        }
    }

    private int CountEmptyTables(int l1Index)
    {
        ReadOnlySpan<ulong> rest = _l1.AsSpan(l1Index);
        int found = rest.IndexOfAnyExcept(0UL);
        return found < 0 ? rest.Length : found;
    }

    private int IndexInTable(long offsetBytes) => (int)(offsetBytes >> _clusterBits) & _entryMask;

    private ulong[] ReadL1()
    {
        ulong[] l1 = new ulong[_header.L1Entries];
        Span<byte> bytes = MemoryMarshal.AsBytes(l1.AsSpan());
        _file.Read(_header.L1OffsetBytes, bytes);
        ulong fileEndBytes = (ulong)((_header.FileLengthBytes + _header.ClusterBytes - 1) & -_header.ClusterBytes);
        for (int i = 0; i < l1.Length; i++)
        {
            ulong entry = BinaryPrimitives.ReadUInt64BigEndian(bytes[(i * sizeof(ulong))..]);
            ulong offset = entry & L2Entry.OffsetMask;
            l1[i] = entry;
            bool isUsable = entry == 0
                || ((entry & ~(L2Entry.OffsetMask | L2Entry.Copied)) == 0
                    && offset != 0
                    && (offset & (ulong)(_header.ClusterBytes - 1)) == 0
                    && offset < fileEndBytes);
            if (!isUsable)
            {
                throw Qcow2Fault.Corrupt(
                    _file.Path,
                    $"L1 entry {i} is 0x{entry:x16}, which points at no cluster of the file of " +
                    $"{_header.FileLengthBytes} bytes",
                    _header.L1OffsetBytes + (i * (long)sizeof(ulong)));
            }
        }

        return l1;
    }
}
