// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Telemetry;
using Fleece.Nbd.Client;

namespace Fleece.Disks.Metering;

/// <summary>The metrics of disks and of all that belongs to them.</summary>
internal static class DiskMetrics
{
    /// <summary>Those of the disks that are mounted now, with their sessions.</summary>
    public static IEnumerable<MetricReading> Of(IReadOnlyList<Disk> disks)
    {
        foreach (DiskStatus status in Enum.GetValues<DiskStatus>())
        {
            yield return MetricOwner.Process.Read(
                FleeceMetrics.Disks, disks.Count(disk => disk.OperationalStatus == status), "state", NameOf(status));
        }

        Session[] sessions = [.. disks.SelectMany(disk => disk.Sessions)];
        foreach (SessionState state in new[] { SessionState.Active, SessionState.Broken })
        {
            yield return MetricOwner.Process.Read(
                FleeceMetrics.Sessions, sessions.Count(session => session.State == state), "state", NameOf(state));
        }

        foreach (MetricReading reading in disks.SelectMany(Of).Concat(sessions.SelectMany(Of)))
        {
            yield return reading;
        }

        yield return MetricOwner.Process.Read(FleeceMetrics.NbdReconnects, Reconnector.ReconnectCount);
    }

    private static IEnumerable<MetricReading> Of(Disk disk)
    {
        MetricOwner owner = new(("disk", disk.Name));
        yield return owner.Read(FleeceMetrics.Flushes, disk.Device.FlushCount);
        yield return owner.Read(FleeceMetrics.FlushFailures, disk.Device.FlushFailureCount);
        yield return owner.Read(FleeceMetrics.SlowRequests, disk.Slow.Count);
    }

    private static IEnumerable<MetricReading> Of(Session session)
    {
        SessionMetrics metrics = session.Point.Metrics;
        MetricOwner owner = metrics.Owner;
        yield return owner.Read(FleeceMetrics.GuestWaits, metrics.GuestWaits);
        yield return owner.Read(FleeceMetrics.FrozenWaits, metrics.FrozenWaits);
        yield return owner.Read(FleeceMetrics.ReaderWaits, metrics.ReaderWaits);
        yield return owner.Read(FleeceMetrics.Copies, metrics.Copies);
        foreach ((string kind, long count) in metrics.Failures)
        {
            yield return owner.Read(FleeceMetrics.CopyFailures, count, "error", kind);
        }

        yield return owner.Read(FleeceMetrics.CopiedBytes, session.CopiedBytes);
        yield return owner.Read(FleeceMetrics.AvoidedBytes, session.Point.Avoided.Bytes);
        yield return owner.Read(FleeceMetrics.DeniedBytes, session.SizeBytes - session.Point.IncludedBytes);
        yield return owner.Read(FleeceMetrics.GuestDelay, session.Point.Delay.Total.TotalSeconds);
        yield return owner.Read(FleeceMetrics.DelayedWrites, session.Point.Delay.Count);
        yield return owner.Read(FleeceMetrics.ReadBytes, metrics.DiskReadBytes, "source", "disk");
        yield return owner.Read(FleeceMetrics.ReadBytes, metrics.TempReadBytes, "source", "temp");
        yield return owner.Read(FleeceMetrics.DiscardedBytes, session.ConsumedBytes);
        yield return owner.Read(FleeceMetrics.TempBytes, session.TempUsedBytes);
        if (session.TempLimitBytes is { } limitBytes)
        {
            yield return owner.Read(FleeceMetrics.TempLimitBytes, limitBytes);
        }
    }

    private static string NameOf<T>(T state)
        where T : struct, Enum => state.ToString().ToLowerInvariant();
}
