// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <summary>Host clusters that are being filled before a mapping leads to them.</summary>
/// <param name="Cluster">First guest cluster.</param>
/// <param name="Count">Guest clusters, contiguous in the file as well.</param>
/// <param name="HostOffsetBytes">Where the first one's host cluster is.</param>
/// <param name="IsNew">True when the host clusters were allocated for this.</param>
/// <param name="Fill">The part of the disk whose bytes must be there before <see cref="Qcow2Metadata.TryPublish"/>.</param>
/// <param name="Old">What the first entry is; the others follow from it.</param>
/// <param name="Subclusters">The allocation bitmap the entries get.</param>
internal readonly record struct CopyPlan(
    long Cluster, int Count, long HostOffsetBytes, bool IsNew, BlockRange Fill, L2Descriptor Old, ulong Subclusters);

/// <content>Copy-on-write: the mapping changes when the content is in place; see <see cref="ClusterCopy"/>.</content>
internal sealed partial class Qcow2Metadata
{
    /// <summary>Prepares the copy of what a write at an offset touches first: part of one cluster, or whole clusters.</summary>
    /// <returns>False when nothing is to be copied any more: the mapping has changed meanwhile.</returns>
    public bool TryPlanCopy(long offsetBytes, long lengthBytes, out CopyPlan plan)
    {
        int first = IndexInSlice(offsetBytes);
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            L2Slice slice = FindOrAddSlice(offsetBytes);
            L2Descriptor old = slice.Read(first);
            ClusterKind kind = KindAt(old, IndexInCluster(offsetBytes));
            long hostBytes = OwnHost(slice, first, old);
            plan = default;
            if (kind == ClusterKind.Invalid)
            {
                throw Unusable(offsetBytes);
            }

            if (kind == ClusterKind.Data && hostBytes >= 0)
            {
                return (old.Entry & L2Entry.Copied) == 0 && !_hasDataFile && MarkCopied(slice, first, old);
            }

            long startBytes = offsetBytes & -_header.ClusterBytes;
            long endBytes = Math.Min(offsetBytes + lengthBytes, SliceEnd(offsetBytes));
            if (_isExtended && kind != ClusterKind.Compressed && (hostBytes >= 0 || L2Entry.HostOffset(old.Entry) == 0))
            {
                plan = PlanSubclusters(old, BlockRange.FromEnds(offsetBytes, endBytes), hostBytes);
                return true;
            }

            bool isNew = hostBytes < 0;
            int count = offsetBytes == startBytes && (isNew || _hasDataFile)
                ? CountAlike(slice, first, old, endBytes)
                : 1;
            hostBytes = isNew ? TakeClusters(count, out count) << _clusterBits : hostBytes;
            plan = new CopyPlan(
                startBytes >> _clusterBits,
                count,
                hostBytes,
                isNew,
                new BlockRange(startBytes, (long)count << _clusterBits),
                old,
                _isExtended ? uint.MaxValue : 0);
            return true;
        }
    }

    /// <summary>Makes the filled clusters the disk's.</summary>
    /// <returns>False when the mapping has changed since the plan; then new clusters have been given back.</returns>
    public bool TryPublish(in CopyPlan plan)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            L2Slice slice = FindOrAddSlice(plan.Cluster << _clusterBits);
            int first = (int)plan.Cluster & _entryMask;
            for (int i = 0; i < plan.Count; i++)
            {
                if (slice.Read(first + i) != Expected(plan.Old, i))
                {
                    GiveBack(plan);
                    return false;
                }
            }

            Allocator!.HasAllocated = true;
            for (int i = 0; i < plan.Count; i++)
            {
                ulong host = (ulong)plan.HostOffsetBytes + ((ulong)i << _clusterBits);
                Cache.Set(slice, first + i, new L2Descriptor(host | L2Entry.Copied, plan.Subclusters));
                if (plan.IsNew)
                {
                    FreeEntry(Expected(plan.Old, i).Entry);
                }
            }

            return true;
        }
    }

    /// <summary>Gives the plan up after its content could not be written.</summary>
    public void Abandon(in CopyPlan plan)
    {
        lock (Sync)
        {
            GiveBack(plan);
        }
    }

    private void GiveBack(in CopyPlan plan)
    {
        if (plan.IsNew && !Poison.IsSet)
        {
            Allocator!.ReleaseShared(plan.HostOffsetBytes >> _clusterBits, plan.Count);
        }
    }

    private ClusterKind KindAt(L2Descriptor descriptor, int subcluster) =>
        _isExtended ? Subclusters.Kind(descriptor, subcluster) : L2Entry.Kind(descriptor.Entry);

    // Where the cluster's bytes go without an allocation, or -1.
    private long OwnHost(L2Slice slice, int index, L2Descriptor descriptor)
    {
        if (_hasDataFile)
        {
            return GuestOffset(slice, index);
        }

        long hostBytes = (descriptor.Entry & L2Entry.Compressed) != 0 ? 0 : L2Entry.HostOffset(descriptor.Entry);
        return hostBytes != 0 && CountOf(hostBytes, slice, index) == 1 ? hostBytes : -1;
    }

    // Always false: nothing has to be copied.
    private bool MarkCopied(L2Slice slice, int index, L2Descriptor descriptor)
    {
        Cache.Set(slice, index, descriptor with { Entry = descriptor.Entry | L2Entry.Copied });
        return false;
    }

    private CopyPlan PlanSubclusters(L2Descriptor old, BlockRange range, long hostBytes)
    {
        long startBytes = range.OffsetBytes & -_header.ClusterBytes;
        int first = IndexInCluster(range.OffsetBytes);
        long touchedBytes = Math.Min(range.EndBytes, startBytes + _header.ClusterBytes) - startBytes;
        int end = Math.Min(
            (int)((touchedBytes - 1) >> _subclusterBits) + 1, first + Subclusters.RunLength(old, first));
        BlockRange fill = BlockRange.FromEnds(
            startBytes + ((long)first << _subclusterBits), startBytes + ((long)end << _subclusterBits));
        bool isNew = hostBytes < 0;
        return new CopyPlan(
            startBytes >> _clusterBits,
            1,
            isNew ? TakeClusters(1, out _) << _clusterBits : hostBytes,
            isNew,
            fill,
            old,
            Subclusters.Allocate(old.Subclusters, first, end));
    }

    // Whole clusters of the write that the same plan fits.
    private int CountAlike(L2Slice slice, int first, L2Descriptor old, long endBytes)
    {
        long guestBytes = GuestOffset(slice, first);
        int most = (int)Math.Min((endBytes - guestBytes) >> _clusterBits, Qcow2Limits.ClustersPerCopy);
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
        : first with { Entry = first.Entry + ((ulong)index << _clusterBits) };
}
