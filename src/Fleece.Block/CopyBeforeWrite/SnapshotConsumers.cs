// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The consumers that a point in time counts.</summary>
/// <remarks>
/// <para>A granule is consumed when all of them have confirmed it, so what is consumed is always confirmed by each. Their maps only
/// grow, and each says what one consumer is refused beside what everybody is.</para>
/// <para>Threading. The lock is held while maps are compared, which guests do not wait for, and never across I/O. Whoever confirms a
/// granule last finds the others' confirmations, because adding and looking are one step.</para>
/// </remarks>
internal sealed class SnapshotConsumers
{
    private readonly SharedLock _lock = new();
    private readonly PointInTime _point;
    private readonly SnapshotConsumer[] _all;

    public SnapshotConsumers(PointInTime point, IReadOnlyList<string> names)
    {
        _point = point;
        _all = [.. names.Select((name, index) => new SnapshotConsumer(point, name, index))];
    }

    public IReadOnlyList<SnapshotConsumer> All => _all;

    /// <summary>Notes that a consumer is finished with a run.</summary>
    /// <param name="consumer">The consumer; null for all of them at once.</param>
    /// <param name="run">The run.</param>
    /// <returns>Those parts of the run that nobody needs any more.</returns>
    /// <exception cref="BlockException">As <see cref="PointInTime.Confirm"/>; nothing has changed then.</exception>
    public IReadOnlyList<GranuleRun> Confirm(SnapshotConsumer? consumer, GranuleRun run)
    {
        using (_lock.EnterScope())
        {
            _point.Confirm(consumer, run);
            return consumer is null ? [run] : _point.Maps.ConfirmedByAll(run);
        }
    }
}
