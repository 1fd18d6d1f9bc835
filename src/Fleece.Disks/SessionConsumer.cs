// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;

namespace Fleece.Disks;

/// <summary>One of the consumers that a session counts: it reads at its own pace, and a range is discarded when all have confirmed
/// it.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. The session owns it.</remarks>
internal sealed class SessionConsumer : ISnapshotSource, IAtRiskSource
{
    private readonly SnapshotConsumer _counted;
    private readonly Lazy<WholeClusterDiscard> _clusterDiscard;

    internal SessionConsumer(Session session, SnapshotConsumer counted)
    {
        _counted = counted;
        Session = session;
        Snapshot = new BlockDevice(counted.Snapshot, $"{session.Id}/{counted.Name}", BlockErrors.Stopped)
        {
            Poisoned = session.Faults.Break,
        };
        _clusterDiscard = new Lazy<WholeClusterDiscard>(() => new WholeClusterDiscard(session.Point, Snapshot));
    }

    /// <summary>The name, unique in the session.</summary>
    public string Name => _counted.Name;

    /// <summary>The session.</summary>
    public Session Session { get; }

    /// <summary>What it has confirmed, in bytes.</summary>
    public long ConfirmedBytes => _counted.ConfirmedBytes;

    /// <summary>What it has not confirmed, in bytes: the session keeps it for this consumer.</summary>
    public long RemainingBytes => _counted.RemainingBytes;

    /// <inheritdoc/>
    string ISnapshotSource.Id => Session.Id;

    /// <inheritdoc/>
    string ISnapshotSource.Address => Session.Disk.Storage.SourceAddress;

    /// <inheritdoc/>
    string? ISnapshotSource.Consumer => Name;

    /// <inheritdoc/>
    public long SizeBytes => Session.SizeBytes;

    /// <inheritdoc/>
    DateTimeOffset? ISnapshotSource.Instant => Session.StartedAt;

    /// <inheritdoc/>
    SnapshotIdentity? ISnapshotSource.Identity => ((ISnapshotSource)Session).Identity;

    /// <inheritdoc/>
    int ISnapshotSource.GranuleSizeBytes => Session.GranuleSizeBytes;

    /// <inheritdoc/>
    int ISnapshotSource.ReadsAtOnce => ((ISnapshotSource)Session).ReadsAtOnce;

    /// <summary>The snapshot as this consumer sees it: what it has confirmed is refused, and discarding is confirming.</summary>
    public BlockDevice Snapshot { get; }

    /// <summary>The map behind <see cref="Snapshot"/>.</summary>
    internal SnapshotAccess Access => _counted.Snapshot;

    /// <summary>How clients of an export confirm.</summary>
    internal WholeClusterDiscard ClusterDiscard => _clusterDiscard.Value;

    /// <summary>The runs of the snapshot as this consumer sees it, from the disk's start to its end.</summary>
    public IEnumerable<SnapshotRun> GetRuns() => Access.GetRuns();

    /// <inheritdoc/>
    public string? TakeWarning() => Session.TakeWarning();

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        new(Access.NextReadable(offsetBytes, endBytes));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(CancellationToken cancellationToken) =>
        Session.FindAtRiskAsync(cancellationToken);

    /// <summary>The consumer as it is now.</summary>
    public ConsumerInfo Describe() => new()
    {
        Name = Name,
        Session = Session.Id,
        ConfirmedBytes = ConfirmedBytes,
        RemainingBytes = RemainingBytes,
        SizeBytes = SizeBytes,
        InstantId = Session.InstantId,
    };

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
