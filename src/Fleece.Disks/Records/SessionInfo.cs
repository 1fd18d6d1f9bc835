// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks.Records;

/// <summary>A session as it was when it was asked for.</summary>
public sealed record SessionInfo
{
    // For a record that comes from a host.
    private SessionInfo()
    {
    }

    internal SessionInfo(Session session)
    {
        Name = session.Name;
        Disk = session.Disk.Name;
        Id = session.Id;
        State = session.State;
        BrokenBy = session.BrokenBy;
        StartedAt = session.StartedAt;
        InstantId = session.InstantId;
        SizeBytes = session.SizeBytes;
        GranuleSizeBytes = session.GranuleSizeBytes;
        OnCopyError = session.OnCopyError;
        CopyTimeout = session.CopyTimeout;
        TempLimitBytes = session.TempLimitBytes;
        TempUsedBytes = session.TempUsedBytes;
        TempWarning = session.TempWarning;
        CopiedBytes = session.CopiedBytes;
        ConsumedBytes = session.ConsumedBytes;
        TempPath = session.TempPath;
        Bitmap = session.Bitmap?.Name;
        NextBitmap = session.NextBitmap?.Name;
        Consumers = new RecordList<ConsumerInfo>(session.Consumers.Select(consumer => new ConsumerInfo(consumer)));
        MountId = session.Disk.MountId;
    }

    /// <summary>The session's name, unique on its disk.</summary>
    public string Name { get; private init; } = string.Empty;

    /// <summary>The disk's name.</summary>
    public string Disk { get; private init; } = string.Empty;

    /// <summary>"DISK/NAME", unique in the process.</summary>
    public string Id { get; private init; } = string.Empty;

    /// <summary>Whether the point in time can still be read.</summary>
    public SessionState State { get; private init; }

    /// <summary>Why the session broke; null while it is whole.</summary>
    public string? BrokenBy { get; private init; }

    /// <summary>The instant.</summary>
    public DateTimeOffset StartedAt { get; private init; }

    /// <summary>The identity of the instant, which its backups are known by.</summary>
    public Guid InstantId { get; private init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; private init; }

    /// <summary>The unit of copying in bytes.</summary>
    public int GranuleSizeBytes { get; private init; }

    /// <summary>Whether the snapshot or the guest's write fails with a copy.</summary>
    public CopyErrorPolicy OnCopyError { get; private init; }

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout { get; private init; }

    /// <summary>Most old data kept in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes { get; private init; }

    /// <summary>Old data in temp, in bytes; consumed granules don't count.</summary>
    public long TempUsedBytes { get; private init; }

    /// <summary>A warning where temp is near its limit; null where it is not.</summary>
    public string? TempWarning { get; private init; }

    /// <summary>Old data kept so far, in bytes.</summary>
    public long CopiedBytes { get; private init; }

    /// <summary>Snapshot data that was consumed so far, in bytes.</summary>
    public long ConsumedBytes { get; private init; }

    /// <summary>The temp image.</summary>
    public string TempPath { get; private init; } = string.Empty;

    /// <summary>The name of the bitmap whose ranges the snapshot is limited to; null for none.</summary>
    public string? Bitmap { get; private init; }

    /// <summary>The name of the bitmap that records from the instant on; null for none, and for one without a name.</summary>
    public string? NextBitmap { get; private init; }

    /// <summary>The consumers that must confirm a range before it is discarded; empty for a session that counts none.</summary>
    public IReadOnlyList<ConsumerInfo> Consumers { get; private init; } = RecordList<ConsumerInfo>.Empty;

    /// <summary>The identity of the disk's mount.</summary>
    public Guid MountId { get; private init; }

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    internal bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) || string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The id.</summary>
    public override string ToString() => Id;
}
