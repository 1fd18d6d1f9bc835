// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite.Pressure;

/// <summary>Holds snapshot reads back while a guest's copy waits for the active disk, so that the guest comes first.</summary>
/// <remarks>
/// <para>Storage that answers from memory gives a copy its old data at once. Where that takes longer than readers have patience the copy
/// waits for the disk, mostly behind the requests of readers. Then a snapshot read waits before it begins, and nothing is read ahead,
/// until no copy waits that long.</para>
/// <para>On a disk that is always slow this would keep readers from their data while temp fills. So one read waits for
/// <see cref="LongestMilliseconds"/> at most, and after a wait all reads go on for as long as it took: readers keep half of the
/// time.</para>
/// <para>Threading. All members from any thread. A read that waits blocks its thread, as reading does, and holds no lock and no frozen
/// read.</para>
/// </remarks>
/// <param name="findOldestRead">Since when the copy that has waited longest for the active disk waits; null when none does.</param>
/// <param name="patience">How long a copy may wait before readers wait for it; infinite for ever.</param>
/// <param name="time">Where the time comes from.</param>
internal sealed class ReaderDelay(Func<long?> findOldestRead, TimeSpan patience, TimeProvider time)
{
    /// <summary>Longest wait of one read: a guest of a disk that is overloaded has been served by then.</summary>
    public const int LongestMilliseconds = 50;

    private long _restUntil = long.MinValue;

    /// <summary>True when a read that begins now would have to wait.</summary>
    public bool IsDue
    {
        get
        {
            if (patience == Timeout.InfiniteTimeSpan || findOldestRead() is not { } began)
            {
                return false;
            }

            long now = time.GetTimestamp();
            return now >= Volatile.Read(ref _restUntil) && time.GetElapsedTime(began, now) > patience;
        }
    }

    /// <summary>Waits for guests, where <see cref="IsDue"/> says so.</summary>
    public void Wait(CancellationToken cancellationToken)
    {
        long startedAt = time.GetTimestamp();
        for (int i = 0; i < LongestMilliseconds && IsDue && !cancellationToken.IsCancellationRequested; i++)
        {
            Thread.Sleep(1);
        }

        long now = time.GetTimestamp();
        Volatile.Write(ref _restUntil, now + (now - startedAt));
    }
}
