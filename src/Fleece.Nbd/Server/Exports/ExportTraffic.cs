// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block.Telemetry;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Exports;

/// <summary>The requests of an export's clients so far, over all connections.</summary>
/// <remarks>Each connection counts by itself, so that connections share nothing while they are served. Threading. All members are safe from
/// any thread.</remarks>
/// <param name="owner">The export, by its labels.</param>
/// <param name="subject">The export, as a part of a sentence.</param>
/// <param name="slow">Where slow requests are told.</param>
internal sealed class ExportTraffic(MetricOwner owner, string subject, SlowRequests slow)
{
    private readonly Lock _lock = new();
    private readonly HashSet<RequestCounts> _open = [];
    private readonly ConcurrentDictionary<string, long> _errors = new(StringComparer.Ordinal);
    private readonly MetricOwner[] _commands = [.. Enumerable.Range(0, RequestCounts.CommandCount)
        .Select(command => owner.With("command", NameOf((NbdCommand)command)))];

    private RequestTotals _ended = RequestTotals.None;

    /// <summary>The export, as a part of a sentence.</summary>
    public string Subject => subject;

    /// <summary>Where slow requests are told.</summary>
    public SlowRequests Slow => slow;

    /// <summary>The series of a command.</summary>
    public MetricOwner OwnerOf(NbdCommand command) => _commands[(int)command];

    /// <summary>A request has failed or was refused.</summary>
    public void NoteError(string kind) => _errors.AddOrUpdate(kind, 1, static (_, count) => count + 1);

    /// <summary>Counts a connection's requests until <see cref="Remove"/>.</summary>
    public void Add(RequestCounts counts)
    {
        lock (_lock)
        {
            _open.Add(counts);
        }
    }

    /// <summary>A connection has ended; what it counted stays.</summary>
    public void Remove(RequestCounts counts)
    {
        lock (_lock)
        {
            if (_open.Remove(counts))
            {
                _ended = _ended.With(counts.Read());
            }
        }
    }

    /// <summary>The metrics as they are now; those of a command from its first request on.</summary>
    public IEnumerable<MetricReading> ReadMetrics()
    {
        RequestTotals totals;
        int inFlight = 0;
        lock (_lock)
        {
            totals = _ended;
            foreach (RequestCounts counts in _open)
            {
                totals = totals.With(counts.Read());
                inFlight += counts.InFlight();
            }
        }

        for (int command = 0; command < RequestCounts.CommandCount; command++)
        {
            if (totals.Durations[command].Count != 0)
            {
                yield return _commands[command].Read(FleeceMetrics.NbdRequests, totals.Durations[command]);
            }
        }

        yield return owner.Read(FleeceMetrics.NbdBytes, totals.ReadBytes, "direction", "read");
        yield return owner.Read(FleeceMetrics.NbdBytes, totals.WrittenBytes, "direction", "write");
        yield return owner.Read(FleeceMetrics.NbdInFlight, inFlight);
        foreach ((string kind, long count) in _errors)
        {
            yield return owner.Read(FleeceMetrics.NbdErrors, count, "error", kind);
        }
    }

    private static string NameOf(NbdCommand command) => command switch
    {
        NbdCommand.WriteZeroes => "write_zeroes",
        NbdCommand.BlockStatus => "block_status",
        _ => command.ToString().ToLowerInvariant(),
    };
}

/// <summary>The requests of one connection, or of several.</summary>
internal sealed record RequestTotals(IReadOnlyList<DurationCounts> Durations, long ReadBytes, long WrittenBytes)
{
    /// <summary>Nothing.</summary>
    public static RequestTotals None { get; } =
        new(Enumerable.Repeat(DurationCounts.Empty, RequestCounts.CommandCount).ToArray(), 0, 0);

    /// <summary>These and others.</summary>
    public RequestTotals With(RequestTotals others) => new(
        Durations.Zip(others.Durations, (mine, other) => other.Count == 0 ? mine : mine.With(other)).ToArray(),
        ReadBytes + others.ReadBytes,
        WrittenBytes + others.WrittenBytes);
}
