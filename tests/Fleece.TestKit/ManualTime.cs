// SPDX-License-Identifier: MIT
namespace Fleece.TestKit;

/// <summary>A clock that stands still until the test moves it; its timers go off within <see cref="Advance"/>, on the caller's
/// thread.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
public sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _armed = [];
    private long _nowTicks;

    /// <summary>Timers that will go off some time.</summary>
    public int ArmedTimers
    {
        get
        {
            lock (_lock)
            {
                return _armed.Count;
            }
        }
    }

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp() => Interlocked.Read(ref _nowTicks);

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddTicks(GetTimestamp());

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ManualTimer timer = new(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Moves the clock, and on the way sets off every timer that is due, in the order of their times.</summary>
    public void Advance(TimeSpan by)
    {
        long endTicks = GetTimestamp() + by.Ticks;
        while (TakeDue(endTicks) is { } timer)
        {
            timer.GoOff();
        }

        Interlocked.Exchange(ref _nowTicks, endTicks);
    }

    private ManualTimer? TakeDue(long endTicks)
    {
        lock (_lock)
        {
            ManualTimer? due = _armed.MinBy(timer => timer.DueTicks);
            if (due is null || due.DueTicks > endTicks)
            {
                return null;
            }

            Interlocked.Exchange(ref _nowTicks, Math.Max(GetTimestamp(), due.DueTicks));
            Arm(due, due.PeriodTicks);
            return due;
        }
    }

    // Under the lock. Less than zero is never.
    private void Arm(ManualTimer timer, long inTicks)
    {
        _armed.Remove(timer);
        if (inTicks >= 0)
        {
            timer.DueTicks = GetTimestamp() + inTicks;
            _armed.Add(timer);
        }
    }

    private sealed class ManualTimer(ManualTime time, TimerCallback callback, object? state) : ITimer
    {
        public long DueTicks { get; set; }

        public long PeriodTicks { get; private set; }

        public void GoOff() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._lock)
            {
                PeriodTicks = period > TimeSpan.Zero ? period.Ticks : -1;
                time.Arm(this, dueTime < TimeSpan.Zero ? -1 : dueTime.Ticks);
            }

            return true;
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
