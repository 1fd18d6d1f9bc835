// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Records;

/// <summary>The copies that a session would have made over a time, and their cost.</summary>
public sealed record SessionMeasurement
{
    // Made by the engine, and from what a host tells.
    internal SessionMeasurement()
    {
    }

    /// <summary>The disk's name.</summary>
    public string Disk { get; internal init; } = string.Empty;

    /// <summary>When measuring began: the instant of the session that was not started.</summary>
    public DateTimeOffset StartedAt { get; internal init; }

    /// <summary>How long it was measured.</summary>
    public TimeSpan Duration { get; internal init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; internal init; }

    /// <summary>The unit of copying in bytes.</summary>
    public int GranuleSizeBytes { get; internal init; }

    /// <summary>The bitmap that limits the session; null for none.</summary>
    public string? Bitmap { get; internal init; }

    /// <summary>Old data that the session would have copied to temp, in bytes: so much room temp needs where nothing is consumed.</summary>
    public long CopiedBytes { get; internal init; }

    /// <summary>Granules that guests changed and that were holes at the beginning, in bytes: they would not have been copied. Zeros that
    /// are stored count as copies, for nothing is read.</summary>
    public long ZeroBytes { get; internal init; }

    /// <summary>Granules outside the bitmap that guests changed, in bytes: they would not have been copied. Of a session it is all that
    /// lies outside, changed or not.</summary>
    public long DeniedBytes { get; internal init; }

    /// <summary>Guests' writes that changed a granule first, but for those outside the bitmap. Each would have waited for a copy, or for
    /// the look that finds zeros.</summary>
    public long GuestWaitCount { get; internal init; }

    /// <summary>Most that guests changed first in a second, in bytes.</summary>
    public long PeakBytesPerSecond { get; internal init; }

    /// <summary>Most old data that temp could hold, in bytes; null for no limit.</summary>
    public long? TempLimitBytes { get; internal init; }

    /// <summary>When temp would be full, counted from the start: within the duration the moment that was observed, and beyond it a
    /// forecast at the average pace. Null without a limit, and where nothing would have been copied.</summary>
    public TimeSpan? TempFullIn { get; internal init; }

    /// <summary>The disk and the time.</summary>
    public override string ToString() => $"{Disk}, {Duration}";
}
