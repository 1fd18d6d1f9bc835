// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Clusters in which header extensions, such as dirty bitmaps, keep data of their own.</summary>
/// <remarks>
/// To store something: <see cref="Allocate"/>, <see cref="Write"/>, a flush of the node (now the clusters are counted and
/// filled, durably), then <see cref="LiveHeader.SetExtension"/> and <see cref="LiveHeader.SetAutoclear"/>, and only then
/// <see cref="Free"/> of what it replaces. A crash in between leaks clusters and breaks nothing.
/// <para>Threading. Any thread.</para>
/// </remarks>
internal sealed class ExtensionClusters(
    MetadataFile file, LiveHeader header, HostClusters hosts, MetadataClusters ownClusters, Lock sync)
{
    /// <summary>Contiguous clusters that are counted and read as zeros; nothing leads to them yet.</summary>
    /// <returns>Their offset in the file.</returns>
    public long Allocate(int clusters)
    {
        lock (sync)
        {
            header.BeginChange();
            return hosts.TakeContiguous(clusters);
        }
    }

    /// <summary>Writes into clusters of <see cref="Allocate"/>, or of an extension.</summary>
    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        file.Poison.ThrowIfSet();
        header.PrepareForChange();
        file.Write(offsetBytes, data);
    }

    /// <summary>
    /// Gives clusters back that nothing on disk leads to any more; they are used again after the next flush. Those that are
    /// not what they should be, owned once and by no table, are left alone: leaked, not shared.
    /// </summary>
    public void Free(IEnumerable<long> clusters)
    {
        lock (sync)
        {
            header.BeginChange();
            foreach (long cluster in clusters.Distinct())
            {
                if (hosts.IsOwnedOnce(cluster) && !ownClusters.Contains(cluster))
                {
                    hosts.FreeCluster(cluster);
                }
            }
        }
    }
}
