// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>One of several readers that a point in time counts, each with a position of its own.</summary>
/// <remarks>
/// What it has confirmed is refused to it from then on, and is consumed when every other consumer has confirmed it too.
/// Threading. Members are safe from any thread.
/// </remarks>
internal sealed class SnapshotConsumer
{
    private readonly PointInTime _point;
    private long _confirmedBytes;

    internal SnapshotConsumer(PointInTime point, string name, int index)
    {
        _point = point;
        Name = name;
        Index = index;
        Confirmed = point.Maps.Confirmed[index];
        _confirmedBytes = point.Maps.Denied is { } denied
            ? point.Granules.BytesOf(Confirmed, denied)
            : point.Granules.BytesOf(Confirmed);
        Snapshot = new SnapshotAccess(point, this);
    }

    /// <summary>The name, unique in the point in time.</summary>
    public string Name { get; }

    /// <summary>The snapshot as this consumer sees it. Discarding is confirming.</summary>
    public SnapshotAccess Snapshot { get; }

    /// <summary>What it has confirmed, in bytes; what was denied from the start does not count.</summary>
    public long ConfirmedBytes => Volatile.Read(ref _confirmedBytes);

    /// <summary>What it has not confirmed, in bytes.</summary>
    public long RemainingBytes => _point.IncludedBytes - ConfirmedBytes;

    /// <summary>Its place in <see cref="PointInTime.Consumers"/>.</summary>
    internal int Index { get; }

    internal GranuleMap Confirmed { get; }

    /// <summary>Adds a run. The caller holds the locks of <see cref="SnapshotConsumers"/> and of the point in time.</summary>
    internal void Confirm(GranuleRun run)
    {
        for (long start = Snapshot.FirstReadable(run); start < run.End;)
        {
            // What this consumer has not confirmed is not consumed, so the run's start stays readable while it is measured.
            GranuleRun added = new(start, Snapshot.FirstRefused(run with { Start = start }));
            Volatile.Write(ref _confirmedBytes, _confirmedBytes + _point.Granules.Bytes(added).LengthBytes);
            start = Snapshot.FirstReadable(run with { Start = added.End });
        }

        Confirmed.Add(run);
    }
}
