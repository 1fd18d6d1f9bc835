// SPDX-License-Identifier: MIT
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>Tells which host cluster holds which guest cluster.</summary>
/// <remarks>Threading. Any thread, without a lock as long as the L2 slice is in memory. The host clusters it names stay what they
/// are for a caller that is counted in <see cref="Container.Epochs"/>.</remarks>
/// <param name="header">The image's header.</param>
/// <param name="tables">Its tables.</param>
/// <param name="path">Its path, for messages.</param>
internal sealed class MappingLookup(Qcow2Header header, MappingTables tables, string path)
{
    private readonly ClusterAddressing _addressing = new(header);
    private readonly bool _isExtended = header.IsExtended;
    private readonly bool _hasDataFile = header.HasDataFile;

    /// <summary>
    /// The mapping at a guest offset, and how far it goes: within one L2 slice, or over all that no table describes.
    /// </summary>
    /// <param name="offsetBytes">Guest offset, within the disk.</param>
    /// <param name="lengthBytes">At least 1; the run is not longer.</param>
    /// <param name="isContiguous">True when the run must be contiguous in the file too.</param>
    /// <exception cref="Fleece.Block.BlockException">Corrupt: the L2 entry contradicts the format; read errors.</exception>
    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        while (true)
        {
            if (tables.FindSlice(offsetBytes, out int filling) is not { } slice)
            {
                int l1Index = _addressing.L1Index(offsetBytes);
                long emptyEndBytes = _addressing.TableStart(l1Index + 1L + tables.CountEmptyTables(l1Index + 1));
                return new MappedRun(RunKind.Parent, Math.Min(lengthBytes, emptyEndBytes - offsetBytes));
            }

            long endBytes = Math.Min(offsetBytes + lengthBytes, _addressing.SliceEnd(offsetBytes));
            MappedRun run = _isExtended
                ? MapSubclusters(slice, offsetBytes, endBytes, isContiguous)
                : MapClusters(slice, offsetBytes, endBytes, isContiguous);
            if (slice.IsStill(filling))
            {
                return run.LengthBytes != 0 ? run : throw Qcow2Fault.UnusableEntry(path, offsetBytes);
            }
        }
    }

    /// <summary>True when nothing is stored for a cluster and no place is kept for it.</summary>
    public bool IsHostless(long offsetBytes)
    {
        while (tables.FindSlice(offsetBytes, out int filling) is { } slice)
        {
            ulong entry = slice[_addressing.IndexInSlice(offsetBytes)];
            if (slice.IsStill(filling))
            {
                return L2Entry.IsHostless(entry);
            }
        }

        return true;
    }

    private MappedRun MapClusters(L2Slice slice, long offsetBytes, long endBytes, bool isContiguous)
    {
        int first = _addressing.IndexInSlice(offsetBytes);
        int most = _addressing.IndexInSlice(endBytes - 1) - first + 1;
        ulong entry = slice[first];
        ClusterKind kind = L2Entry.Kind(entry);
        int count = kind switch
        {
            ClusterKind.Unallocated => Math.Max(1, slice.CountUnallocated(first, most)),
            ClusterKind.Data when isContiguous => CountContiguous(slice, first, most, entry),
            ClusterKind.Data or ClusterKind.Zero => CountKind(slice, first, most, kind),
            _ => 1,
        };

        int clusterBits = _addressing.ClusterBits;
        long runEndBytes = Math.Min(endBytes, ((offsetBytes >> clusterBits) + count) << clusterBits);
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
        while (count < most && slice[first + count] == entry + ((ulong)count << _addressing.ClusterBits))
        {
            count++;
        }

        return count;
    }

    private MappedRun MapSubclusters(L2Slice slice, long offsetBytes, long endBytes, bool isContiguous)
    {
        L2Descriptor first = slice.Read(_addressing.IndexInSlice(offsetBytes));
        ClusterKind kind = Subclusters.Kind(first, _addressing.IndexInCluster(offsetBytes));
        long atBytes = offsetBytes;
        for (L2Descriptor next = first; atBytes < endBytes; next = slice.Read(_addressing.IndexInSlice(atBytes)))
        {
            int subcluster = _addressing.IndexInCluster(atBytes);
            long clusterBytes = _addressing.ClusterStart(atBytes);
            bool isSame = Subclusters.Kind(next, subcluster) == kind;
            if (isSame && isContiguous && kind == ClusterKind.Data)
            {
                ulong expected = first.Entry + (ulong)(clusterBytes - _addressing.ClusterStart(offsetBytes));
                isSame = next.Entry == expected;
            }

            if (!isSame)
            {
                break;
            }

            int run = Subclusters.RunLength(next, subcluster);
            atBytes = clusterBytes + ((long)(subcluster + run) << _addressing.SubclusterBits);
            if (kind is ClusterKind.Compressed or ClusterKind.Invalid || atBytes >= endBytes)
            {
                break;
            }
        }

        return Run(slice, kind, first.Entry, offsetBytes, Math.Min(atBytes, endBytes));
    }

    // An entry that contradicts the format makes a run of no bytes: only when the slice is still the same, the entry is what it says.
    private MappedRun Run(L2Slice slice, ClusterKind kind, ulong entry, long offsetBytes, long endBytes) => kind switch
    {
        ClusterKind.Data => new MappedRun(
            RunKind.Data,
            endBytes - offsetBytes,
            L2Entry.HostOffset(entry) + (offsetBytes & (_addressing.ClusterBytes - 1)),
            (_hasDataFile || (entry & L2Entry.Copied) != 0) && slice.RefcountFault is null),
        ClusterKind.Compressed => new MappedRun(RunKind.Packed, endBytes - offsetBytes, Entry: entry),
        ClusterKind.Zero => new MappedRun(RunKind.Zero, endBytes - offsetBytes),
        ClusterKind.Unallocated => new MappedRun(RunKind.Parent, endBytes - offsetBytes),
        _ => default,
    };
}
