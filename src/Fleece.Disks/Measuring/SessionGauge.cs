// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece.Disks.Measuring;

/// <summary>How a session would be started that is only measured.</summary>
internal sealed record MeasureOptions
{
    /// <summary>How long to measure, more than zero.</summary>
    public required TimeSpan Duration { get; init; }

    /// <summary>The unit of copying, as of a session.</summary>
    public int GranuleSizeBytes { get; init; } = PointInTime.DefaultGranuleSizeBytes;

    /// <summary>The bitmap that the session would be limited to; null for the whole disk.</summary>
    public string? Bitmap { get; init; }

    /// <summary>Most old data that temp could hold, in bytes; null for no limit.</summary>
    public long? TempLimitBytes { get; init; }
}

/// <summary>Counts the copies that a session would make, without making them.</summary>
/// <remarks>
/// <para>A session copies a granule once, before its first change; so the granules that change are the copies, and the writes that change
/// one first are those that would wait. A bitmap of the granules is told of each of them.</para>
/// <para>Threading. The bitmap calls it under its lock.</para>
/// </remarks>
internal sealed class SessionGauge : IBitmapJournal
{
    private static readonly TimeSpan SampleTime = TimeSpan.FromSeconds(1);

    private readonly byte[] _page = new byte[IBitmapJournal.PageBytes];
    private readonly DirtyBitmap _changed;
    private readonly DirtyBitmap _zero;
    private readonly DirtyBitmap? _included;
    private long _waitCount;

    private SessionGauge(Disk disk, MeasureOptions options)
    {
        _changed = new DirtyBitmap(disk.SizeBytes, options.GranuleSizeBytes, this);
        _zero = new DirtyBitmap(disk.SizeBytes, options.GranuleSizeBytes);
        if (options.Bitmap is { } name)
        {
            Bitmap bitmap = disk.Bitmaps.Find(name);
            bitmap.CheckTrusted();
            _included = new DirtyBitmap(disk.SizeBytes, options.GranuleSizeBytes);
            _included.Merge(bitmap.Bits);
        }
    }

    /// <inheritdoc/>
    Span<byte> IBitmapJournal.Page => _page;

    /// <inheritdoc/>
    void IBitmapJournal.Store(long pageIndex) => Interlocked.Increment(ref _waitCount);

    /// <summary>Measures for a time. Guests write on, and each first change of a granule costs them what a bitmap costs.</summary>
    /// <param name="disk">The disk, which the caller keeps mounted.</param>
    /// <param name="options">The session.</param>
    /// <param name="time">Where the time comes from.</param>
    /// <param name="cancellationToken">Ends it without a result.</param>
    /// <exception cref="BlockException">Errors of <see cref="DiskBitmaps"/>; <see cref="BlockErrors.InvalidArgument"/>: the granule's size
    /// or the duration; <see cref="BlockErrors.Closed"/>: the disk was dismounted.</exception>
    public static async ValueTask<SessionMeasurement> RunAsync(
        Disk disk, MeasureOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        if (options.Duration <= TimeSpan.Zero)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"A session can't be measured for {options.Duration}. Give a -Duration of more than zero.");
        }

        SessionGauge gauge = new(disk, options);
        await gauge.FindZerosAsync(disk, cancellationToken).ConfigureAwait(false);
        DateTimeOffset startedAt = time.GetUtcNow();
        long startedTicks = time.GetTimestamp();
        await disk.Bitmaps.AddGaugeAsync(gauge._changed, cancellationToken).ConfigureAwait(false);
        long peakBytes = 0;
        try
        {
            long lastBytes = 0;
            for (TimeSpan rest = options.Duration; rest > TimeSpan.Zero; rest = options.Duration - time.GetElapsedTime(startedTicks))
            {
                await Task.Delay(rest < SampleTime ? rest : SampleTime, time, cancellationToken).ConfigureAwait(false);
                disk.Device.CheckOpen();
                long changedBytes = gauge._changed.DirtyBytes;
                peakBytes = Math.Max(peakBytes, changedBytes - lastBytes);
                lastBytes = changedBytes;
            }
        }
        finally
        {
            await disk.Bitmaps.RemoveGaugeAsync(gauge._changed).ConfigureAwait(false);
        }

        return gauge.Describe(disk, options, startedAt, time.GetElapsedTime(startedTicks), peakBytes);
    }

    private SessionMeasurement Describe(
        Disk disk, MeasureOptions options, DateTimeOffset startedAt, TimeSpan duration, long peakBytes)
    {
        long changedBytes = 0, includedBytes = 0, zeroBytes = 0;
        foreach (BlockRange changed in _changed.DirtyRanges())
        {
            changedBytes += changed.LengthBytes;
            foreach (BlockRange included in Within(_included, changed))
            {
                includedBytes += included.LengthBytes;
                zeroBytes += Within(_zero, included).Sum(zero => zero.LengthBytes);
            }
        }

        long copiedBytes = includedBytes - zeroBytes;
        return new SessionMeasurement
        {
            Disk = disk.Name,
            StartedAt = startedAt,
            Duration = duration,
            SizeBytes = disk.SizeBytes,
            GranuleSizeBytes = options.GranuleSizeBytes,
            Bitmap = options.Bitmap,
            CopiedBytes = copiedBytes,
            ZeroBytes = zeroBytes,
            AvoidedBytes = changedBytes - includedBytes,
            GuestWaitCount = Volatile.Read(ref _waitCount),
            PeakBytesPerSecond = peakBytes,
            TempLimitBytes = options.TempLimitBytes,
            TempFullIn = options.TempLimitBytes is { } limitBytes && copiedBytes != 0
                ? TimeSpan.FromSeconds(Math.Min(limitBytes / (copiedBytes / duration.TotalSeconds), TimeSpan.MaxValue.TotalSeconds / 2))
                : null,
        };
    }

    // All of the range where there is no bitmap.
    private static IEnumerable<BlockRange> Within(DirtyBitmap? bitmap, BlockRange range)
    {
        if (bitmap is null)
        {
            yield return range;
            yield break;
        }

        for (BlockRange found = bitmap.NextDirty(range.OffsetBytes, range.EndBytes); !found.IsEmpty;
             found = bitmap.NextDirty(found.EndBytes, range.EndBytes))
        {
            yield return found;
        }
    }

    // A copy of zeros stores nothing. Whole granules only, as a session takes them.
    private async ValueTask FindZerosAsync(Disk disk, CancellationToken cancellationToken)
    {
        long granuleBytes = _zero.GranularityBytes;
        for (long offsetBytes = 0; offsetBytes < disk.SizeBytes;)
        {
            BlockStatusRun run = await disk.Device
                .GetStatusAsync(offsetBytes, disk.SizeBytes - offsetBytes, cancellationToken).ConfigureAwait(false);
            long endBytes = offsetBytes + run.LengthBytes;
            if (run.ReadsAsZero)
            {
                long first = (offsetBytes + granuleBytes - 1) / granuleBytes * granuleBytes;
                long last = endBytes == disk.SizeBytes ? endBytes : endBytes / granuleBytes * granuleBytes;
                if (first < last)
                {
                    _zero.Mark(first, last - first);
                }
            }

            offsetBytes = endBytes;
        }
    }
}
