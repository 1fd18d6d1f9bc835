// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Host clusters that are being filled before a mapping leads to them.</summary>
/// <param name="Cluster">First guest cluster.</param>
/// <param name="Count">Guest clusters, contiguous in the file as well.</param>
/// <param name="HostOffsetBytes">Where the first one's host cluster is.</param>
/// <param name="IsNew">True when the host clusters were allocated for this.</param>
/// <param name="Fill">The part of the disk whose bytes must be there before <see cref="CopyPlans.TryPublish"/>.</param>
/// <param name="Old">What the first entry is; the others follow from it.</param>
/// <param name="Subclusters">The allocation bitmap the entries get.</param>
internal readonly record struct CopyPlan(
    long Cluster, int Count, long HostOffsetBytes, bool IsNew, BlockRange Fill, L2Descriptor Old, ulong Subclusters);

/// <summary>The mappings of copy-on-write: each changes when the content is in place; see <see cref="ClusterCopy"/>.</summary>
/// <remarks>Threading. Any thread.</remarks>
internal sealed class CopyPlans(Qcow2Header header, LiveHeader live, WritableTables tables, HostClusters hosts)
{
    private readonly ClusterAddressing _addressing = new(header);
    private readonly bool _isExtended = header.IsExtended;
    private readonly bool _hasDataFile = header.HasDataFile;

    /// <summary>Prepares the copy of what a write at an offset touches first: part of one cluster, or whole clusters.</summary>
    /// <returns>False when nothing is to be copied any more: the mapping has changed meanwhile.</returns>
    public bool TryPlan(long offsetBytes, long lengthBytes, out CopyPlan plan)
    {
        int first = _addressing.IndexInSlice(offsetBytes);
        lock (tables.Sync)
        {
            live.BeginChange();
            L2Slice slice = tables.FindOrAdd(offsetBytes);
            L2Descriptor old = slice.Read(first);
            ClusterKind kind = KindAt(old, _addressing.IndexInCluster(offsetBytes));
            long startBytes = _addressing.ClusterStart(offsetBytes);
            long hostBytes = hosts.OwnOffset(old, startBytes);
            plan = default;
            if (kind == ClusterKind.Invalid)
            {
                throw tables.Unusable(offsetBytes);
            }

            if (kind == ClusterKind.Data && hostBytes >= 0)
            {
                return (old.Entry & L2Entry.Copied) == 0 && !_hasDataFile && MarkCopied(slice, first, old);
            }

            long endBytes = Math.Min(offsetBytes + lengthBytes, _addressing.SliceEnd(offsetBytes));
            if (_isExtended && kind != ClusterKind.Compressed && (hostBytes >= 0 || L2Entry.HostOffset(old.Entry) == 0))
            {
                plan = PlanSubclusters(old, BlockRange.FromEnds(offsetBytes, endBytes), hostBytes);
                return true;
            }

            bool isNew = hostBytes < 0;
            int count = offsetBytes == startBytes && (isNew || _hasDataFile)
                ? CountAlike(slice, first, old, endBytes)
                : 1;
            hostBytes = isNew ? hosts.Take(count, out count) : hostBytes;
            plan = new CopyPlan(
                startBytes >> _addressing.ClusterBits,
                count,
                hostBytes,
                isNew,
                new BlockRange(startBytes, (long)count << _addressing.ClusterBits),
                old,
                _isExtended ? uint.MaxValue : 0);
            return true;
        }
    }

    /// <summary>Makes the filled clusters the disk's.</summary>
    /// <returns>False when the mapping has changed since the plan; then new clusters have been given back.</returns>
    public bool TryPublish(in CopyPlan plan)
    {
        lock (tables.Sync)
        {
            live.ThrowIfPoisoned();
            long offsetBytes = plan.Cluster << _addressing.ClusterBits;
            L2Slice slice = tables.FindOrAdd(offsetBytes);
            int first = _addressing.IndexInSlice(offsetBytes);
            for (int i = 0; i < plan.Count; i++)
            {
                if (slice.Read(first + i) != Expected(plan.Old, i))
                {
                    GiveBack(plan);
                    return false;
                }
            }

            hosts.NoteContent();
            for (int i = 0; i < plan.Count; i++)
            {
                ulong host = (ulong)plan.HostOffsetBytes + ((ulong)i << _addressing.ClusterBits);
                tables.Set(slice, first + i, new L2Descriptor(host | L2Entry.Copied, plan.Subclusters));
                if (plan.IsNew)
                {
                    hosts.FreeEntry(Expected(plan.Old, i).Entry);
                }
            }

            return true;
        }
    }

    /// <summary>Gives the plan up after its content could not be written.</summary>
    public void Abandon(in CopyPlan plan)
    {
        lock (tables.Sync)
        {
            GiveBack(plan);
        }
    }

    private void GiveBack(in CopyPlan plan)
    {
        if (plan.IsNew)
        {
            hosts.GiveBack(plan.HostOffsetBytes >> _addressing.ClusterBits, plan.Count);
        }
    }

    private ClusterKind KindAt(L2Descriptor descriptor, int subcluster) =>
        _isExtended ? Subclusters.Kind(descriptor, subcluster) : L2Entry.Kind(descriptor.Entry);

    // Always false: nothing has to be copied.
    private bool MarkCopied(L2Slice slice, int index, L2Descriptor descriptor)
    {
        tables.Set(slice, index, descriptor with { Entry = descriptor.Entry | L2Entry.Copied });
        return false;
    }

    private CopyPlan PlanSubclusters(L2Descriptor old, BlockRange range, long hostBytes)
    {
        long startBytes = _addressing.ClusterStart(range.OffsetBytes);
        int first = _addressing.IndexInCluster(range.OffsetBytes);
        long touchedBytes = Math.Min(range.EndBytes, startBytes + header.ClusterBytes) - startBytes;
        int end = Math.Min(
            (int)((touchedBytes - 1) >> _addressing.SubclusterBits) + 1, first + Subclusters.RunLength(old, first));
        BlockRange fill = BlockRange.FromEnds(
            startBytes + ((long)first << _addressing.SubclusterBits), startBytes + ((long)end << _addressing.SubclusterBits));
        bool isNew = hostBytes < 0;
        return new CopyPlan(
            startBytes >> _addressing.ClusterBits,
            1,
            isNew ? hosts.TakeOne() : hostBytes,
            isNew,
            fill,
            old,
            Subclusters.Allocate(old.Subclusters, first, end));
    }

    // Whole clusters of the write that the same plan fits.
    private int CountAlike(L2Slice slice, int first, L2Descriptor old, long endBytes)
    {
        long guestBytes = _addressing.GuestOffset(slice, first);
        int most = (int)Math.Min((endBytes - guestBytes) >> _addressing.ClusterBits, Qcow2Limits.ClustersPerCopy);
        if ((old.Entry & L2Entry.Compressed) != 0)
        {
            return 1;
        }

        int count = 1;
        while (count < most && slice.Read(first + count) == Expected(old, count))
        {
            count++;
        }

        return count;
    }

    private L2Descriptor Expected(L2Descriptor first, int index) => L2Entry.HostOffset(first.Entry) == 0 || index == 0
        ? first
        : first with { Entry = first.Entry + ((ulong)index << _addressing.ClusterBits) };
}
