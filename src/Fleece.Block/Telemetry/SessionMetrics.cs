// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Fleece.Block.Telemetry;

/// <summary>The cost of one point in time to its guests and its readers so far.</summary>
/// <remarks>Guests come here for writes that are not settled, and for no others. Threading. All members are safe from any thread.</remarks>
internal sealed class SessionMetrics
{
    private readonly ConcurrentDictionary<string, long> _failures = new(StringComparer.Ordinal);
    private readonly DurationHistogram _guestWaits = new(FleeceMeter.GuestWaits);
    private readonly DurationHistogram _frozenWaits = new(FleeceMeter.FrozenWaits);
    private readonly DurationHistogram _readerWaits = new(FleeceMeter.ReaderWaits);
    private readonly DurationHistogram _copies = new(FleeceMeter.Copies);
    private long _diskReadBytes;
    private long _tempReadBytes;

    /// <summary>Whose they are; set before the first request.</summary>
    public MetricOwner Owner { get; set; } = MetricOwner.Process;

    /// <summary>Where slow waits are told; null for nowhere.</summary>
    public SlowRequests? Slow { get; set; }

    /// <summary>Told each copy that fails, on the guest's thread: it is quick and does not throw. Null for no listener.</summary>
    public Action<Exception>? CopyFailed { get; set; }

    /// <summary>How long guests' writes waited before they could go on, from their first look at the maps on.</summary>
    public DurationCounts GuestWaits => _guestWaits.Read();

    /// <summary>How long of that they waited for snapshot reads that were running on the active disk.</summary>
    public DurationCounts FrozenWaits => _frozenWaits.Read();

    /// <summary>How long snapshot reads gave way to guests that waited for the disk.</summary>
    public DurationCounts ReaderWaits => _readerWaits.Read();

    /// <summary>How long copies took that ended well.</summary>
    public DurationCounts Copies => _copies.Read();

    /// <summary>Snapshot data that was read from the active disk, in bytes.</summary>
    public long DiskReadBytes => Volatile.Read(ref _diskReadBytes);

    /// <summary>Snapshot data that was read from temp, in bytes.</summary>
    public long TempReadBytes => Volatile.Read(ref _tempReadBytes);

    /// <summary>Copies that failed, by kinds of errors.</summary>
    public IEnumerable<KeyValuePair<string, long>> Failures => _failures;

    /// <summary>A guest's write need not wait any longer.</summary>
    public void NoteGuestWait(long startedAt, long offsetBytes, long lengthBytes)
    {
        long elapsedTicks = _guestWaits.Note(startedAt, Owner);
        if (Slow is { } slow && slow.IsSlow(elapsedTicks))
        {
            slow.NoteWait(Subject(), offsetBytes, lengthBytes, elapsedTicks);
        }
    }

    /// <summary>A guest's write need not wait for snapshot reads any longer.</summary>
    public void NoteFrozenWait(long startedAt) => _frozenWaits.Note(startedAt, Owner);

    /// <summary>A snapshot read has given way, and begins now.</summary>
    public void NoteReaderWait(long startedAt) => _readerWaits.Note(startedAt, Owner);

    /// <summary>A copy has ended well.</summary>
    public void NoteCopy(long startedAt) => _copies.Note(startedAt, Owner);

    /// <summary>A copy has failed, or its guest has waited for it too long.</summary>
    public void NoteFailure(Exception error)
    {
        _failures.AddOrUpdate((error as BlockException)?.Kind ?? BlockErrors.IoFailed, 1, static (_, count) => count + 1);
        CopyFailed?.Invoke(error);
    }

    /// <summary>A part of a snapshot read has ended well.</summary>
    public void NoteRead(bool isFromTemp, int lengthBytes) =>
        Interlocked.Add(ref isFromTemp ? ref _tempReadBytes : ref _diskReadBytes, lengthBytes);

    private string Subject() => $"session '{string.Join('/', Owner.Labels.Select(label => label.Value))}'";
}
