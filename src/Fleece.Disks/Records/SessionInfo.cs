// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks.Records;

/// <summary>A session as it was when it was asked for.</summary>
public sealed record SessionInfo
{
    // Made by the engine, and from what a host tells.
    internal SessionInfo()
    {
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

    /// <summary>Old data kept so far, in bytes.</summary>
    public long CopiedBytes { get; internal init; }

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

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    internal bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) || string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The id.</summary>
    public override string ToString() => Id;
}
