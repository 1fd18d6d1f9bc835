// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Buffers;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Reads what the disk holds now.</summary>
internal delegate void DiskReader(long offsetBytes, Span<byte> buffer);

/// <summary>Writes to clusters that have content to keep: a parent's, a snapshot's, or compressed.</summary>
/// <remarks>
/// <para>The merged content is written to a place no mapping leads to; then the mapping is published, if it is still the
/// one that was there at the start, and else all is done again. So readers see the cluster before or after the write and
/// never between, and so does everybody after a crash, because the write-back makes content durable before
/// mappings.</para>
/// <para>Where the old content comes from is not asked here: it is what the disk reads as. It can't change on the way,
/// because nobody writes in place to a cluster that has to be copied, and whoever copies it has claimed it.</para>
/// <para>Threading. Any thread, counted in <see cref="Epochs"/>. It may wait for another copy of the same cluster.</para>
/// </remarks>
internal sealed class ClusterCopy(
    Qcow2Header header, CopyPlans plans, IContainerFile dataFile, DiskReader disk)
{
    private readonly ClusterClaims _claims = new();

    /// <summary>Writes from an offset on, as far as one copy goes.</summary>
    /// <param name="offsetBytes">Disk offset.</param>
    /// <param name="lengthBytes">At least 1.</param>
    /// <param name="data">The bytes; empty for zeros.</param>
    /// <returns>Bytes that are done; 0 when the mapping has changed and must be looked at again.</returns>
    public long Write(long offsetBytes, long lengthBytes, ReadOnlySpan<byte> data)
    {
        long cluster = offsetBytes >> header.ClusterBits;
        long inClusterBytes = offsetBytes & (header.ClusterBytes - 1);
        long claimed = inClusterBytes != 0
            ? 1
            : Math.Clamp(lengthBytes >> header.ClusterBits, 1, Qcow2Limits.ClustersPerCopy);
        lengthBytes = Math.Min(lengthBytes, (claimed << header.ClusterBits) - inClusterBytes);
        _claims.Claim(cluster, claimed);
        try
        {
            if (!plans.TryPlan(offsetBytes, lengthBytes, out CopyPlan plan))
            {
                return 0;
            }

            BlockRange part = new BlockRange(offsetBytes, lengthBytes).Intersect(plan.Fill);
            Fill(plan, part, data.IsEmpty ? data : data[..(int)part.LengthBytes]);
            return plans.TryPublish(plan) ? part.LengthBytes : 0;
        }
        finally
        {
            _claims.Release(cluster, claimed);
        }
    }

    private void Fill(in CopyPlan plan, BlockRange part, ReadOnlySpan<byte> data)
    {
        long hostBytes = plan.HostOffsetBytes + (plan.Fill.OffsetBytes - (plan.Cluster << header.ClusterBits));
        try
        {
            if (part == plan.Fill)
            {
                Put(plan, hostBytes, part.LengthBytes, data);
                return;
            }

            Merge(plan.Fill, hostBytes, part, data);
        }
        catch
        {
            plans.Abandon(plan);
            throw;
        }
    }

    private void Put(in CopyPlan plan, long hostBytes, long lengthBytes, ReadOnlySpan<byte> data)
    {
        if (!data.IsEmpty)
        {
            dataFile.Write(hostBytes, data);
        }
        else if (!plan.IsNew)
        {
            dataFile.Zero(hostBytes, lengthBytes);
        }
    }

    private void Merge(BlockRange fill, long hostBytes, BlockRange part, ReadOnlySpan<byte> data)
    {
        // The last cluster may reach beyond the disk; nothing goes there.
        long diskEndBytes = Math.Min(fill.EndBytes, header.SizeBytes);
        PageBuffer rented = PagePool.Shared.Rent((int)fill.LengthBytes);
        try
        {
            Span<byte> bytes = rented.GetSpan()[..(int)fill.LengthBytes];
            int headBytes = (int)(part.OffsetBytes - fill.OffsetBytes);
            int endBytes = (int)(part.EndBytes - fill.OffsetBytes);
            int insideBytes = (int)(diskEndBytes - fill.OffsetBytes);
            if (headBytes != 0)
            {
                disk(fill.OffsetBytes, bytes[..headBytes]);
            }

            if (data.IsEmpty)
            {
                bytes[headBytes..endBytes].Clear();
            }
            else
            {
                data.CopyTo(bytes[headBytes..]);
            }

            if (endBytes < insideBytes)
            {
                disk(part.EndBytes, bytes[endBytes..insideBytes]);
            }

            dataFile.Write(hostBytes, bytes[..insideBytes]);
        }
        finally
        {
            PagePool.Shared.Return(rented);
        }
    }
}
