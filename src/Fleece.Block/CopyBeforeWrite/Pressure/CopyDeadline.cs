// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite.Pressure;

/// <summary>Until when one guest write waits; it begins when it is made.</summary>
internal sealed class CopyDeadline(TimeSpan timeout, TimeProvider time)
{
    // A timer reaches 49.7 days. A longer wait is made of several.
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(49);

    private readonly long _startedAt = time.GetTimestamp();

    /// <summary>Waits for a task that never fails.</summary>
    /// <returns>False when the time was over first.</returns>
    public async ValueTask<bool> TryWaitAsync(Task task, CancellationToken cancellationToken)
    {
        while (!task.IsCompleted)
        {
            TimeSpan left = timeout - time.GetElapsedTime(_startedAt);
            if (left <= TimeSpan.Zero)
            {
                return false;
            }

            // Timers count whole milliseconds: a shorter one would have gone off before it was begun.
            TimeSpan timer = TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds));
            using CancellationTokenSource late = new(timer < LongestTimer ? timer : LongestTimer, time);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
            try
            {
                await Schedule.WaitAsync(task, either.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The timer has gone off. What is left says whether that was all.
            }
        }

        return true;
    }
}
