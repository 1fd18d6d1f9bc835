// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block.Telemetry;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Exports;

/// <summary>The requests of one connection: how long each took from when it had arrived to when its reply was ready.</summary>
/// <remarks>Noting one reads the clock once and, behind a command's first, allocates nothing. Threading. All members are safe from any
/// thread.</remarks>
/// <param name="traffic">The export's counts; null for a connection that is not counted.</param>
/// <param name="inFlight">How many requests go on beside the connection's own thread.</param>
internal sealed class RequestCounts(ExportTraffic? traffic, Func<int> inFlight)
{
    /// <summary>Commands are numbered from 0 on.</summary>
    public const int CommandCount = (int)NbdCommand.BlockStatus + 1;

    private readonly DurationHistogram?[] _durations = new DurationHistogram?[CommandCount];
    private long _readBytes;
    private long _writtenBytes;

    /// <summary>How many requests go on beside the connection's own thread.</summary>
    public Func<int> InFlight => inFlight;

    /// <summary>Counts the connection's requests as its export's.</summary>
    public void Begin() => traffic?.Add(this);

    /// <summary>The connection has ended.</summary>
    public void End() => traffic?.Remove(this);

    /// <summary>A request has ended.</summary>
    /// <param name="request">The request.</param>
    /// <param name="startedAt">The timestamp of its beginning.</param>
    /// <param name="error">The kind of its failure; null for a success.</param>
    /// <returns>The timestamp of its end.</returns>
    public long Note(in RequestHeader request, long startedAt, string? error = null)
    {
        if (traffic is null)
        {
            return Stopwatch.GetTimestamp();
        }

        NbdCommand command = request.Command;
        DurationHistogram durations = Volatile.Read(ref _durations[(int)command]) ?? Add(command);
        long elapsedTicks = durations.Note(startedAt, traffic.OwnerOf(command));
        if (error is not null)
        {
            traffic.NoteError(error);
        }
        else if (command == NbdCommand.Read)
        {
            Interlocked.Add(ref _readBytes, (long)request.Length);
        }
        else if (command == NbdCommand.Write)
        {
            Interlocked.Add(ref _writtenBytes, (long)request.Length);
        }

        if (traffic.Slow.IsSlow(elapsedTicks))
        {
            traffic.Slow.Note(
                traffic.Subject,
                command.ToString(),
                (long)request.Offset,
                (long)request.Length,
                elapsedTicks,
                waitsForSessions: command != NbdCommand.Read);
        }

        return startedAt + elapsedTicks;
    }

    /// <summary>A request was refused before anything was done for it.</summary>
    public void NoteRefused(string kind) => traffic?.NoteError(kind);

    /// <summary>The counts so far.</summary>
    public RequestTotals Read() => new(
        Array.ConvertAll(_durations, durations => durations?.Read() ?? DurationCounts.Empty),
        Volatile.Read(ref _readBytes),
        Volatile.Read(ref _writtenBytes));

    private DurationHistogram Add(NbdCommand command)
    {
        DurationHistogram added = new(FleeceMeter.NbdRequests);
        return Interlocked.CompareExchange(ref _durations[(int)command], added, null) ?? added;
    }
}
