// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Telemetry;

namespace Fleece.Disks.Records;

/// <summary>A session as it was when it was asked for.</summary>
public sealed record SessionInfo
{
    // Made by the engine, and from what a host tells.
    internal SessionInfo()
    {
    }

    // Of a session that delays guests here.
    internal SessionInfo(DurationCounts guestWaits)
    {
        GuestWaitCount = guestWaits.Count;
        GuestWaitTotal = guestWaits.Total;
        GuestWaitP50 = guestWaits.Percentile(0.5);
        GuestWaitP99 = guestWaits.Percentile(0.99);
        GuestWaitLongest = guestWaits.Longest;
    }

    /// <summary>The session's name, unique on its disk.</summary>
    public string Name { get; internal init; } = string.Empty;

    /// <summary>The disk's name.</summary>
    public string Disk { get; internal init; } = string.Empty;

    /// <summary>"DISK/NAME", unique in the process.</summary>
    public string Id { get; internal init; } = string.Empty;

    /// <summary>Whether the point in time can still be read.</summary>
    public SessionState State { get; internal init; }

    /// <summary>Why the session broke, or why a lost one can't be resumed; null while it is whole.</summary>
    public string? BrokenBy { get; internal init; }

    /// <summary>The instant.</summary>
    public DateTimeOffset StartedAt { get; internal init; }

    /// <summary>The identity of the instant, which its backups are known by.</summary>
    public Guid InstantId { get; internal init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; internal init; }

    /// <summary>The unit of copying in bytes.</summary>
    public int GranuleSizeBytes { get; internal init; }

    /// <summary>Whether the snapshot or the guest's write fails with a copy.</summary>
    public CopyErrorPolicy OnCopyError { get; internal init; }

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout { get; internal init; }

    /// <summary>Most old data kept in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes { get; internal init; }

    /// <summary>Old data in temp, in bytes; consumed granules don't count.</summary>
    public long TempUsedBytes { get; internal init; }

    /// <summary>A warning where temp is near its limit; null where it is not.</summary>
    public string? TempWarning { get; internal init; }

    /// <summary>How much of the limit for temp is taken when the session warns, in percent; null where there is no limit.</summary>
    public int? TempWarningPercent { get; internal init; }

    /// <summary>When temp is full if it goes on growing as in the last minute; null where it has not grown, and where nothing bounds it
    /// that is known.</summary>
    public TimeSpan? TempFullIn { get; internal init; }

    /// <summary>Longest time for which a guest's write is held back while temp fills; null for no delay.</summary>
    public TimeSpan? MaxGuestDelay { get; internal init; }

    /// <summary>The time for which guest writes were held back while temp filled, all together.</summary>
    public TimeSpan GuestDelay { get; internal init; }

    /// <summary>Guest writes that were held back while temp filled.</summary>
    public long GuestDelayCount { get; internal init; }

    /// <summary>Old data kept so far, in bytes.</summary>
    public long CopiedBytes { get; internal init; }

    /// <summary>Copies that guest writes did not need because the snapshot had been consumed there, in bytes of whole granules, each of
    /// which counts once. A session that was resumed counts from then on.</summary>
    public long AvoidedBytes { get; internal init; }

    /// <summary>The part of the disk that lies outside of the session's ranges or bitmap, in bytes: it is neither copied nor read.
    /// </summary>
    public long DeniedBytes { get; internal init; }

    /// <summary>Snapshot data that was consumed so far, in bytes.</summary>
    public long ConsumedBytes { get; internal init; }

    /// <summary>The temp image.</summary>
    public string TempPath { get; internal init; } = string.Empty;

    /// <summary>The name of the bitmap whose ranges the snapshot is limited to; null for none.</summary>
    public string? Bitmap { get; internal init; }

    /// <summary>The name of the bitmap that records from the instant on; null for none, and for one without a name.</summary>
    public string? NextBitmap { get; internal init; }

    /// <summary>The consumers that must confirm a range before it is discarded; empty for a session that counts none.</summary>
    public IReadOnlyList<ConsumerInfo> Consumers { get; internal init; } = RecordList<ConsumerInfo>.Empty;

    /// <summary>The identity of the disk's mount; empty for a guest's disk, which QEMU serves.</summary>
    public Guid MountId { get; internal init; }

    /// <summary>The QMP socket of the QEMU that runs the disk's guest; null for a disk that is mounted.</summary>
    public string? QmpSocketPath { get; internal init; }

    /// <summary>How long the guest's processors stood still for the instant; null where they did not, and for a disk that is
    /// mounted.</summary>
    public TimeSpan? GuestPause { get; internal init; }

    /// <summary>True when the guest's agent had frozen its file systems at the instant.</summary>
    public bool IsQuiesced { get; internal init; }

    /// <summary>True when the session goes on after the end of its process, also a sudden one.</summary>
    public bool CanResume { get; internal init; }

    /// <summary>Why it does not; null where it does.</summary>
    public string? CannotResumeReason { get; internal init; }

    /// <summary>When this process resumed it; null for a session that this process began.</summary>
    public DateTimeOffset? ResumedAt { get; internal init; }

    /// <summary>The identity of the session's log; null for a session without one.</summary>
    public Guid? LogId { get; internal init; }

    /// <summary>How many writes of guests the session has delayed in this process: each that found its old data not kept yet, or a snapshot
    /// read in its way. 0 for a guest's disk, which QEMU serves.</summary>
    public long GuestWaitCount { get; internal init; }

    /// <summary>All these delays together.</summary>
    public TimeSpan GuestWaitTotal { get; internal init; }

    /// <summary>Half of the delays were at most this long; null where there was none.</summary>
    public TimeSpan? GuestWaitP50 { get; internal init; }

    /// <summary>99 of 100 delays were at most this long; null where there was none.</summary>
    public TimeSpan? GuestWaitP99 { get; internal init; }

    /// <summary>The longest delay; null where there was none.</summary>
    public TimeSpan? GuestWaitLongest { get; internal init; }

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    internal bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) || string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The id.</summary>
    public override string ToString() => Id;
}
