// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Qemu.Reading;

/// <summary>Which clusters of a snapshot are refused, and why: QEMU does not tell.</summary>
/// <remarks>
/// <para>Memory. At most 2 bits for each cluster, 256 MiB for 64 TiB of 64 KiB clusters; uniform regions cost nothing.</para>
/// <para>Threading. Queries from any thread, without a lock; <see cref="Consume"/> from any thread. A consumed cluster is refused to each
/// query that begins after <see cref="Consume"/> has returned, and may be to one that runs meanwhile.</para>
/// </remarks>
internal sealed class SnapshotMap
{
    private readonly Lock _growing = new();
    private readonly GranuleMap _refused;
    private readonly GranuleMap _denied;
    private readonly string _id;

    /// <summary>Begins with nothing consumed.</summary>
    /// <param name="clusters">How the disk is divided.</param>
    /// <param name="id">The session, for messages.</param>
    /// <param name="readable">What the snapshot is limited to, in whole clusters and in order; null for the whole disk.</param>
    public SnapshotMap(Granules clusters, string id, IReadOnlyList<BlockRange>? readable)
    {
        Clusters = clusters;
        Limits = readable;
        _id = id;
        _refused = new GranuleMap(clusters.Count);
        _denied = new GranuleMap(clusters.Count);
        long startBytes = 0;
        foreach (BlockRange range in readable ?? [])
        {
            Deny(BlockRange.FromEnds(startBytes, range.OffsetBytes));
            startBytes = range.EndBytes;
        }

        Deny(BlockRange.FromEnds(readable is null ? clusters.DiskLengthBytes : startBytes, clusters.DiskLengthBytes));
    }

    /// <summary>How the disk is divided.</summary>
    public Granules Clusters { get; }

    /// <summary>What could be read at the instant; null for the whole disk.</summary>
    public IReadOnlyList<BlockRange>? Limits { get; }

    /// <summary>Bytes that were consumed.</summary>
    public long ConsumedBytes
    {
        get
        {
            lock (_growing)
            {
                long count = _refused.AddedCount - _denied.AddedCount;
                long last = Clusters.Count - 1;
                long missingBytes = Clusters.Count * Clusters.SizeBytes - Clusters.DiskLengthBytes;
                bool isLastConsumed = count != 0 && _refused.Contains(last) && !_denied.Contains(last);
                return count * Clusters.SizeBytes - (isLastConsumed ? missingBytes : 0);
            }
        }
    }

    /// <summary>Refuses a run from now on; false when all of it was refused before.</summary>
    public bool Consume(GranuleRun run)
    {
        lock (_growing)
        {
            if (FirstReadable(run) == run.End)
            {
                return false;
            }

            _refused.Add(run);
            return true;
        }
    }

    /// <summary>The first cluster of the run that is refused, or the run's end.</summary>
    public long FirstRefused(GranuleRun run) => _refused.FirstIn(run);

    /// <summary>As <see cref="ISnapshotMap.NextReadable"/>.</summary>
    public BlockRange NextReadable(long offsetBytes, long endBytes)
    {
        BlockRange rest = BlockRange.FromEnds(offsetBytes, endBytes);
        rest.CheckWithin(Clusters.DiskLengthBytes, null, "query");
        GranuleRun run = Clusters.Cover(rest.OffsetBytes, rest.LengthBytes);
        long start = FirstReadable(run);
        if (start >= run.End)
        {
            return new BlockRange(endBytes, 0);
        }

        // The end is searched behind the cluster that was found: it may be consumed meanwhile, and an empty answer would say that nothing
        // is left.
        long end = FirstRefused(run with { Start = start + 1 });
        return Clusters.Bytes(new GranuleRun(start, end)).Intersect(rest);
    }

    /// <summary>As <see cref="ISnapshotMap.GetRun"/>. QEMU does not tell what it has copied, so all that can be read is
    /// <see cref="SnapshotRunState.Untouched"/>.</summary>
    public SnapshotRun GetRun(long offsetBytes)
    {
        new BlockRange(offsetBytes, 1).CheckWithin(Clusters.DiskLengthBytes, null, "query");
        long start = Clusters.IndexOf(offsetBytes);

        // The first cluster is looked at once, and the end is searched behind it, so the run is never empty.
        bool isRefused = _refused.Contains(start);
        GranuleRun rest = new(start + 1, Clusters.Count);
        GranuleRun same = rest with { End = isRefused ? FirstReadable(rest) : FirstRefused(rest) };
        return !isRefused ? Run(offsetBytes, same.End, SnapshotRunState.Untouched)
            : _denied.Contains(start) ? Run(offsetBytes, _denied.FirstNotIn(same), SnapshotRunState.Denied)
            : Run(offsetBytes, _denied.FirstIn(same), SnapshotRunState.Consumed);
    }

    /// <summary>Throws where a cluster of the run is refused.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Denied"/>, <see cref="BlockErrors.Consumed"/>.</exception>
    public void CheckReadable(GranuleRun run)
    {
        long refused = FirstRefused(run);
        if (refused >= run.End)
        {
            return;
        }

        long offsetBytes = refused * Clusters.SizeBytes;
        throw _denied.Contains(refused)
            ? new BlockException(
                BlockErrors.Denied,
                $"The snapshot '{_id}' does not include offset {offsetBytes}: the session was limited to what its bitmap had recorded " +
                "when it started. Get-FleeceSnapshotMap shows what can be read.",
                offsetBytes: offsetBytes,
                operation: "read")
            : new BlockException(
                BlockErrors.Consumed,
                $"The snapshot '{_id}' at offset {offsetBytes} was consumed: it was read, confirmed and discarded. Start a new session " +
                "to read the range again.",
                offsetBytes: offsetBytes,
                operation: "read");
    }

    private long FirstReadable(GranuleRun run) => _refused.FirstNotIn(run);

    private void Deny(BlockRange range)
    {
        GranuleRun run = Clusters.Within(range);
        _denied.Add(run);
        _refused.Add(run);
    }

    private SnapshotRun Run(long offsetBytes, long end, SnapshotRunState state) =>
        new(offsetBytes, Clusters.EndBytes(end) - offsetBytes, state);
}
