// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Management.Automation;

namespace Fleece;

/// <summary>Shows how far work on the bytes of a disk has come, a few times a second.</summary>
internal sealed class ByteProgress(FleeceCommand cmdlet, string activity, long sizeBytes)
{
    private const int ActivityId = 0x464C43; // "FLC", so that nested activities of scripts keep their own numbers.
    private const long MillisecondsBetweenReports = 200;

    private readonly long _startedAt = Stopwatch.GetTimestamp();
    private long _reportedAtMilliseconds = long.MinValue / 2;

    public void Report(long doneBytes)
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(_startedAt);
        long now = (long)elapsed.TotalMilliseconds;
        if (now - _reportedAtMilliseconds < MillisecondsBetweenReports)
        {
            return;
        }

        _reportedAtMilliseconds = now;
        double perSecond = elapsed.TotalSeconds > 0 ? doneBytes / elapsed.TotalSeconds : 0;
        cmdlet.WriteProgress(new ProgressRecord(ActivityId, activity, Status(doneBytes, perSecond))
        {
            PercentComplete = sizeBytes == 0 ? 100 : (int)Math.Min(100, 100.0 * doneBytes / sizeBytes),
            SecondsRemaining = perSecond > 0 ? (int)Math.Min(int.MaxValue, (sizeBytes - doneBytes) / perSecond) : -1,
        });
    }

    public void Complete() =>
        cmdlet.WriteProgress(new ProgressRecord(ActivityId, activity, "Done")
        {
            RecordType = ProgressRecordType.Completed,
        });

    private string Status(long doneBytes, double perSecond) => string.Create(
        CultureInfo.CurrentCulture,
        $"{doneBytes / 1048576.0:N0} of {sizeBytes / 1048576.0:N0} MiB, {perSecond / 1048576.0:N0} MiB/s");
}
