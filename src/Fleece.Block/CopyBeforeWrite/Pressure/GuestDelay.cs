// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite.Pressure;

/// <summary>Holds a guest's writes back a little while temp fills, so that the one who reads the snapshot comes first.</summary>
/// <remarks>
/// <para>A write that must copy waits once, before it copies anything: not at all at the mark at which temp warns, the longest time at
/// temp's limit, and in proportion in between. Settled writes, reads and flushes never wait here. The wait is no part of the time that a
/// copy may take.</para>
/// <para>Threading. All members from any thread. No lock is held, and no granule claimed, while a write waits.</para>
/// </remarks>
/// <param name="longest">The longest time for one write; null for none.</param>
/// <param name="time">Where the time comes from.</param>
internal sealed class GuestDelay(TimeSpan? longest, TimeProvider time)
{
    // So that a product that should be whole is.
    private const double Rounding = 1e-6;

    private readonly TaskCompletionSource _over = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _ticks;
    private long _count;

    /// <summary>The time for which writes were held back, all together.</summary>
    public TimeSpan Total => new(Volatile.Read(ref _ticks));

    /// <summary>Writes that were held back.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>How long a write is held back, in whole milliseconds: a part of one counts as one.</summary>
    /// <param name="fullness">How far temp is on the way from its mark to its limit: 0 to 1.</param>
    public TimeSpan At(double fullness) => longest is { } most && fullness > 0
        ? TimeSpan.FromMilliseconds(
            Math.Min(Math.Floor(most.TotalMilliseconds), Math.Ceiling(most.TotalMilliseconds * fullness - Rounding)))
        : TimeSpan.Zero;

    /// <summary>Holds a write back.</summary>
    public async ValueTask WaitAsync(TimeSpan delay, CancellationToken cancellationToken)
    {
        long startedAt = time.GetTimestamp();
        try
        {
            await new CopyDeadline(delay, time).TryWaitAsync(_over.Task, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Add(ref _ticks, time.GetElapsedTime(startedAt).Ticks);
            Interlocked.Increment(ref _count);
        }
    }

    /// <summary>The session is over: no write waits any more.</summary>
    public void End() => _over.TrySetResult();
}
