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

    /// <summary>The unit of copying; null for the one that a session of the disk has by default.</summary>
    public int? GranuleSizeBytes { get; init; }

    /// <summary>The bitmap that the session would be limited to; null for the whole disk.</summary>
    public string? Bitmap { get; init; }

    /// <summary>Most old data that temp could hold, in bytes, at least one granule; null for no limit.</summary>
    public long? TempLimitBytes { get; init; }
}

/// <summary>Counts the copies that a session would make, without making them.</summary>
/// <remarks>
/// <para>A session copies a granule once, before its first change; so the granules that change are the copies, and the writes that change
/// one first are those that would wait. A bitmap of the granules tells of each of them, so the moment at which temp is full is known as it
/// comes. The maps are those of a session, and so is the largest disk.</para>
/// <para>Threading. The bitmap calls it under its lock, under which it counts; the sums are read from any thread.</para>
/// </remarks>
internal sealed class SessionGauge : IFirstMarks
{
    private static readonly TimeSpan SampleTime = TimeSpan.FromSeconds(1);

    private readonly Disk _disk;
    private readonly MeasureOptions _options;
    private readonly TimeProvider _time;
    private readonly Granules _granules;
    private readonly GranuleMap _zero;
    private readonly GranuleMap _denied;
    private readonly DirtyBitmap _changed;
    private long _startedTicks;
    private long _copiedBytes;
    private long _zeroBytes;
    private long _deniedBytes;
    private long _waitCount;
    private TimeSpan? _fullIn;

    private SessionGauge(Disk disk, MeasureOptions options, TimeProvider time)
    {
        _disk = disk;
        _options = options;
        _time = time;
        _granules = new Granules(disk.SizeBytes, options.GranuleSizeBytes ?? Math.Max(
            PointInTime.DefaultGranuleSizeBytes, disk.Storage.Image.Geometry.RequestAlignmentBytes));
        new CopyLimits { TempBytes = options.TempLimitBytes }.Check(_granules.SizeBytes);
        _zero = new GranuleMap(_granules.Count);
        _denied = new GranuleMap(_granules.Count);
        _changed = new DirtyBitmap(_granules, this);
        if (options.Bitmap is { } name)
        {
            Bitmap bitmap = disk.Bitmaps.Find(name);
            bitmap.CheckTrusted();
            foreach (GranuleRun denied in _granules.Outside(bitmap.Bits.DirtyRanges()))
            {
                _denied.Add(denied);
            }
        }
    }

    private long ChangedBytes => Volatile.Read(ref _copiedBytes) + Volatile.Read(ref _zeroBytes) + Volatile.Read(ref _deniedBytes);

    /// <inheritdoc/>
    void IFirstMarks.NoteMarks(GranuleMap marked, GranuleRun run)
    {
        long copiedBytes = 0, keptBytes = 0, changedBytes = 0;
        for (long start = marked.FirstNotIn(run); start < run.End;)
        {
            GranuleRun first = new(start, marked.FirstIn(run with { Start = start }));
            changedBytes += _granules.Bytes(first).LengthBytes;
            keptBytes += _granules.BytesOutside(first, _denied);
            copiedBytes += BytesToCopy(first);
            start = marked.FirstNotIn(run with { Start = first.End });
        }

        Volatile.Write(ref _copiedBytes, _copiedBytes + copiedBytes);
        Volatile.Write(ref _zeroBytes, _zeroBytes + keptBytes - copiedBytes);
        Volatile.Write(ref _deniedBytes, _deniedBytes + changedBytes - keptBytes);
        _waitCount += keptBytes == 0 ? 0 : 1;
        if (_fullIn is null && _copiedBytes >= _options.TempLimitBytes)
        {
            _fullIn = _time.GetElapsedTime(_startedTicks);
        }
    }

    /// <summary>Measures for a time. Guests write on, and each first change of a granule costs them what a bitmap costs.</summary>
    /// <param name="disk">The disk, which the caller keeps mounted.</param>
    /// <param name="options">The session.</param>
    /// <param name="time">Where the time comes from.</param>
    /// <param name="cancellationToken">Ends it without a result.</param>
    /// <exception cref="BlockException">Errors of <see cref="DiskBitmaps"/>; <see cref="BlockErrors.InvalidArgument"/>: the granule's size,
    /// the limit for temp or the duration; <see cref="BlockErrors.Closed"/>: the disk was dismounted.</exception>
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

        SessionGauge gauge = new(disk, options, time);
        await gauge.FindZerosAsync(cancellationToken).ConfigureAwait(false);
        return await gauge.MeasureAsync(cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask<SessionMeasurement> MeasureAsync(CancellationToken cancellationToken)
    {
        DateTimeOffset startedAt = _time.GetUtcNow();
        _startedTicks = _time.GetTimestamp();
        await _disk.Bitmaps.AddGaugeAsync(_changed, cancellationToken).ConfigureAwait(false);
        long peakBytes = 0;
        try
        {
            long lastBytes = 0;
            for (TimeSpan rest = _options.Duration; rest > TimeSpan.Zero; rest = _options.Duration - _time.GetElapsedTime(_startedTicks))
            {
                await Task.Delay(rest < SampleTime ? rest : SampleTime, _time, cancellationToken).ConfigureAwait(false);
                _disk.Device.CheckOpen();
                long changedBytes = ChangedBytes;
                peakBytes = Math.Max(peakBytes, changedBytes - lastBytes);
                lastBytes = changedBytes;
            }
        }
        finally
        {
            await _disk.Bitmaps.RemoveGaugeAsync(_changed).ConfigureAwait(false);
        }

        return Describe(startedAt, _time.GetElapsedTime(_startedTicks), peakBytes);
    }

    // The bitmap does not record any more.
    private SessionMeasurement Describe(DateTimeOffset startedAt, TimeSpan duration, long peakBytes) => new()
    {
        Disk = _disk.Name,
        StartedAt = startedAt,
        Duration = duration,
        SizeBytes = _disk.SizeBytes,
        GranuleSizeBytes = _granules.SizeBytes,
        Bitmap = _options.Bitmap,
        CopiedBytes = _copiedBytes,
        ZeroBytes = _zeroBytes,
        DeniedBytes = _deniedBytes,
        GuestWaitCount = _waitCount,
        PeakBytesPerSecond = peakBytes,
        TempLimitBytes = _options.TempLimitBytes,
        TempFullIn = _fullIn ?? ExtrapolateFullIn(duration),
    };

    private TimeSpan? ExtrapolateFullIn(TimeSpan duration) => _options.TempLimitBytes is { } limitBytes && _copiedBytes != 0
        ? TimeSpan.FromSeconds(Math.Min(limitBytes / (_copiedBytes / duration.TotalSeconds), TimeSpan.MaxValue.TotalSeconds / 2))
        : null;

    private long BytesToCopy(GranuleRun run)
    {
        long bytes = 0;
        for (long start = GranuleMap.FirstInNeither(_denied, _zero, run); start < run.End;)
        {
            GranuleRun copied = new(start, GranuleMap.FirstInEither(_denied, _zero, run with { Start = start }));
            bytes += _granules.Bytes(copied).LengthBytes;
            start = GranuleMap.FirstInNeither(_denied, _zero, run with { Start = copied.End });
        }

        return bytes;
    }

    // A copy of zeros stores nothing. Holes alone are known without a read, and whole granules only, as a session takes them.
    private async ValueTask FindZerosAsync(CancellationToken cancellationToken)
    {
        for (long offsetBytes = 0; offsetBytes < _disk.SizeBytes;)
        {
            BlockStatusRun run = await _disk.Device
                .GetStatusAsync(offsetBytes, _disk.SizeBytes - offsetBytes, cancellationToken).ConfigureAwait(false);
            GranuleRun zeros = _granules.Within(new BlockRange(offsetBytes, run.LengthBytes));
            if (run.ReadsAsZero && !zeros.IsEmpty)
            {
                _zero.Add(zeros);
            }

            offsetBytes += run.LengthBytes;
        }
    }
}
