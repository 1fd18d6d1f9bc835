// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Consumes a snapshot in clusters: one is discarded when all of it has been reported as finished, in whatever pieces.</summary>
/// <remarks>
/// Readers over a wire finish ranges as they please. Space in temp is worth giving back in clusters, and a cluster of which a
/// reader has finished only a part stays readable as a whole.
/// Threading. Safe from any thread.
/// </remarks>
internal sealed class WholeClusterDiscard
{
    /// <summary>The unit in bytes, unless the granule is larger: what most image formats and backup tools use.</summary>
    public const int ClusterSizeBytes = 64 * 1024;

    private readonly Granules _granules;
    private readonly BlockDevice _snapshot;
    private readonly GranuleMap _finished;
    private readonly Lock _lock = new();
    private readonly int _clusterBytes;

    /// <summary>Makes it for one point in time.</summary>
    /// <param name="point">The point in time.</param>
    /// <param name="snapshot">The device of its <see cref="PointInTime.Snapshot"/>.</param>
    public WholeClusterDiscard(PointInTime point, BlockDevice snapshot)
    {
        ArgumentNullException.ThrowIfNull(point);
        _granules = point.Granules;
        _snapshot = snapshot;
        _finished = new GranuleMap(_granules.Count);
        _clusterBytes = Math.Max(ClusterSizeBytes, _granules.SizeBytes);
    }

    /// <summary>Notes a range as finished, rounded inward to granules (I7), and discards the clusters that are so as a whole.</summary>
    /// <exception cref="BlockException">As <see cref="IBlockNode.DiscardAsync"/> of the snapshot.</exception>
    public ValueTask DiscardAsync(BlockRange range, CancellationToken cancellationToken = default)
    {
        range.CheckWithin(_granules.DiskLengthBytes, null, "discard");
        GranuleRun finished = _granules.Within(range);
        if (finished.IsEmpty)
        {
            // Nothing to note; the snapshot still says when it can't be used any more.
            return _snapshot.DiscardAsync(range.OffsetBytes, 0, cancellationToken);
        }

        BlockRange whole;
        lock (_lock)
        {
            _finished.Add(finished);
            BlockRange bytes = _granules.Bytes(finished);
            long startBytes = bytes.OffsetBytes / _clusterBytes * _clusterBytes;
            long endBytes = Math.Min(
                _granules.DiskLengthBytes, (bytes.EndBytes + _clusterBytes - 1) / _clusterBytes * _clusterBytes);

            // Only the first and the last cluster can lack something; what lies between is covered by this range alone.
            startBytes = IsFinished(startBytes) ? startBytes : startBytes + _clusterBytes;
            long lastBytes = (endBytes - 1) / _clusterBytes * _clusterBytes;
            endBytes = lastBytes < startBytes || IsFinished(lastBytes) ? endBytes : lastBytes;
            whole = BlockRange.FromEnds(Math.Min(startBytes, _granules.DiskLengthBytes), endBytes);
        }

        return _snapshot.DiscardAsync(whole.OffsetBytes, whole.LengthBytes, cancellationToken);
    }

    private bool IsFinished(long clusterOffsetBytes)
    {
        GranuleRun cluster = _granules.Cover(
            clusterOffsetBytes, Math.Min(_clusterBytes, _granules.DiskLengthBytes - clusterOffsetBytes));
        return _finished.FirstNotIn(cluster) == cluster.End;
    }
}
