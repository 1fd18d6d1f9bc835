// SPDX-License-Identifier: MIT
namespace Fleece.Block.Telemetry;

/// <summary>Every metric there is; docs/telemetry.md has the same list.</summary>
internal static class FleeceMetrics
{
    // Of the process.
    public static readonly Metric Disks = Gauge("fleece.disks", "{disk}", "Mounted disks, by state.");
    public static readonly Metric Sessions = Gauge("fleece.sessions", "{session}", "Sessions of mounted disks, by state.");

    // Of a session.
    public static readonly Metric GuestWaits = Histogram(
        "fleece.session.guest.wait", "Time by which the session delayed a guest's write. Writes that it did not delay do not count.");

    public static readonly Metric FrozenWaits = Histogram(
        "fleece.session.guest.frozen_wait", "The part of a guest's delay in which the write waited for snapshot reads of the active disk.");

    public static readonly Metric ReaderWaits = Histogram(
        "fleece.session.reader.wait",
        "Time by which a snapshot read gave way to guests that waited for the disk. Reads that did not do not count.");

    public static readonly Metric Copies = Histogram("fleece.session.copy.duration", "Time that a copy of old data to temp took.");

    public static readonly Metric CopyFailures = Counter(
        "fleece.session.copy.failures", "{copy}", "Copies that failed or were waited for in vain, by kind of error.");

    public static readonly Metric CopiedBytes = Counter(
        "fleece.session.copied", "By", "Old data copied to temp, in whole granules; those of zeros do not count.");

    public static readonly Metric AvoidedBytes = Counter(
        "fleece.session.avoided", "By", "Copies that guests did not need because the snapshot had been consumed there before.");

    public static readonly Metric DeniedBytes = Gauge(
        "fleece.session.denied", "By", "The part of the disk outside the session's ranges or bitmap, which is never copied.");

    public static readonly Metric GuestDelay = Counter(
        "fleece.session.guest.delay", "s", "Time for which guests' writes were held back while temp filled (-MaxGuestDelay).");

    public static readonly Metric DelayedWrites = Counter(
        "fleece.session.guest.delayed_writes", "{write}", "Guests' writes that were held back while temp filled (-MaxGuestDelay).");

    public static readonly Metric ReadBytes = Counter(
        "fleece.session.read", "By", "Snapshot data that was read, by where it came from: the active disk or temp.");

    public static readonly Metric DiscardedBytes = Counter("fleece.session.discarded", "By", "Snapshot data that was consumed.");
    public static readonly Metric TempBytes = Gauge("fleece.session.temp.usage", "By", "Old data in temp.");
    public static readonly Metric TempLimitBytes = Gauge("fleece.session.temp.limit", "By", "Most old data that temp may hold.");

    // Of a disk.
    public static readonly Metric Flushes = Counter(
        "fleece.disk.flushes", "{flush}", "Flushes of the disk that guests and cmdlets asked for.");

    public static readonly Metric FlushFailures = Counter("fleece.disk.flush.failures", "{flush}", "Those of them that failed.");

    public static readonly Metric SlowRequests = Counter(
        "fleece.disk.slow_requests",
        "{request}",
        "Requests of guests, and waits of theirs for a session, that took longer than -SlowRequest.");

    // Of an export, its guests and the readers of its snapshots apart.
    public static readonly Metric NbdConnections = Gauge("fleece.nbd.server.connections", "{connection}", "Clients that are connected.");

    public static readonly Metric NbdRequests = Histogram(
        "fleece.nbd.server.request.duration", "Time from when a request had arrived to when its reply was ready, by command.");

    public static readonly Metric NbdBytes = Counter("fleece.nbd.server.io", "By", "Data that clients read and wrote, by direction.");

    public static readonly Metric NbdErrors = Counter(
        "fleece.nbd.server.errors", "{request}", "Requests that failed or were refused, by kind of error.");

    public static readonly Metric NbdInFlight = Gauge(
        "fleece.nbd.server.requests.in_flight",
        "{request}",
        "Requests that go on beside the threads of their connections, 64 at most for each.");

    // Of a listener.
    public static readonly Metric NbdMemoryBytes = Gauge(
        "fleece.nbd.server.memory.usage", "By", "Memory for requests and replies beyond the first buffers of each connection.");

    public static readonly Metric NbdMemoryLimitBytes = Gauge("fleece.nbd.server.memory.limit", "By", "Most of that memory.");

    // Of the process as a client of NBD servers.
    public static readonly Metric NbdReconnects = Counter(
        "fleece.nbd.client.reconnects", "{connection}", "Connections to NBD servers that were lost and made again.");

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Metric> All { get; } =
    [
        Disks,
        Sessions,
        GuestWaits,
        FrozenWaits,
        ReaderWaits,
        Copies,
        CopyFailures,
        CopiedBytes,
        AvoidedBytes,
        DeniedBytes,
        GuestDelay,
        DelayedWrites,
        ReadBytes,
        DiscardedBytes,
        TempBytes,
        TempLimitBytes,
        Flushes,
        FlushFailures,
        SlowRequests,
        NbdConnections,
        NbdRequests,
        NbdBytes,
        NbdErrors,
        NbdInFlight,
        NbdMemoryBytes,
        NbdMemoryLimitBytes,
        NbdReconnects,
    ];

    private static Metric Counter(string name, string unit, string description) => new(name, MetricKind.Counter, unit, description);

    private static Metric Gauge(string name, string unit, string description) => new(name, MetricKind.Gauge, unit, description);

    private static Metric Histogram(string name, string description) => new(name, MetricKind.Histogram, "s", description);
}
