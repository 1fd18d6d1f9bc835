// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Serves the requests of one connection that carry no data of the disk: flushes, discards, zeros, status.</summary>
/// <remarks>Threading. The connection's own thread only, but for <see cref="FlushAsync"/>; a request that goes on by itself ends on
/// any.</remarks>
internal sealed class OtherRequests(
    ReplyWriter replies,
    RequestService service,
    int contextCount,
    InFlightLimit inFlight,
    MemoryBudget budget,
    WorkThreads threads,
    RequestCounts counts)
{
    private readonly ReplyFormat _format = replies.Format;
    private readonly Pace _pace = Pace.OfChanges();

    /// <summary>Serves a request.</summary>
    public void Serve(in RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        // A payload here is a few words of a block status; a copy spares the buffer from being shared.
        ReadOnlyMemory<byte> kept = payload.IsEmpty ? payload : payload.ToArray();

        // Also when nothing else waits: a flush keeps a thread for many reads' time, and those come while it does.
        if (_pace.IsSlow && TryRentStatus(request, out SharedBuffer? apart))
        {
            inFlight.Enter(0);
            threads.Post(new Elsewhere(this, request, kept, apart));
            return;
        }

        Pace.Start start = _pace.Begin();
        ValueTask<StatusAnswer?> serving = service.ServeAsync(request, kept);
        if (serving.IsCompleted)
        {
            _pace.Note(start, 0, Stopwatch.GetTimestamp());
        }
        else if (TryRentStatus(request, out SharedBuffer? status))
        {
            inFlight.Enter(0);
            _ = FinishAsync(request, serving, status, 0, start.Timestamp);
            return;
        }

        StatusAnswer? answer;
        try
        {
            answer = serving.IsCompleted ? serving.GetAwaiter().GetResult() : Await(serving);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            Refusal refusal = Refusal.From(e, request);
            counts.Note(request, start.Timestamp, refusal.Label);
            replies.Add(request, refusal);
            return;
        }

        counts.Note(request, start.Timestamp);
        Add(request, answer);
    }

    /// <summary>Flushes and posts the reply, from any thread.</summary>
    /// <param name="request">A flush.</param>
    /// <param name="inFlightBytes">The bytes that the request counts in the limit.</param>
    public Task FlushAsync(RequestHeader request, long inFlightBytes) =>
        FinishAsync(request, service.ServeAsync(request, default), null, inFlightBytes, Stopwatch.GetTimestamp());

    private void Add(in RequestHeader request, StatusAnswer? answer)
    {
        if (answer is null)
        {
            replies.Add(request, default);
            return;
        }

        for (int i = 0; i < answer.Contexts.Count; i++)
        {
            Memory<byte> reply = replies.Reserve(_format.StatusBytes(answer, i));
            replies.Commit(_format.WriteStatus(reply.Span, request, answer, i));
        }
    }

    private StatusAnswer? Await(ValueTask<StatusAnswer?> serving)
    {
        Task<StatusAnswer?> all = serving.AsTask();
        inFlight.Await(all);
        return all.GetAwaiter().GetResult();
    }

    // A status goes on elsewhere only with memory for its reply and for the extents before they are one.
    private bool TryRentStatus(in RequestHeader request, out SharedBuffer? reply)
    {
        reply = request.Command == NbdCommand.BlockStatus
            ? SharedBuffer.TryRent(2 * contextCount * SharedBuffer.BaseBytes, budget)
            : null;
        return reply is not null || request.Command != NbdCommand.BlockStatus;
    }

    private async Task FinishAsync(
        RequestHeader request, ValueTask<StatusAnswer?> serving, SharedBuffer? reply, long inFlightBytes, long startedAt)
    {
        Refusal refusal = default;
        StatusAnswer? answer = null;
        try
        {
            answer = await serving.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The client gets every failure of its request; no caller waits for it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = Refusal.From(e, request);
        }

        counts.Note(request, startedAt, refusal.Label);
        if (answer is null || reply is null)
        {
            reply?.Release();
            replies.PostShort(request, refusal, inFlightBytes);
            return;
        }

        int writtenBytes = 0;
        for (int i = 0; i < answer.Contexts.Count; i++)
        {
            writtenBytes += _format.WriteStatus(reply.Bytes.Span[writtenBytes..], request, answer, i);
        }

        replies.Post(reply, 0, writtenBytes, inFlightBytes);
    }

    private void ServeElsewhere(in RequestHeader request, ReadOnlyMemory<byte> payload, SharedBuffer? reply, long startedAt)
    {
        Pace.Start start = _pace.Begin();
        ValueTask<StatusAnswer?> serving = service.ServeAsync(request, payload);
        _pace.Note(start, 0, Stopwatch.GetTimestamp());
        _ = FinishAsync(request, serving, reply, 0, startedAt);
    }

    /// <summary>A request that another thread begins.</summary>
    private sealed class Elsewhere(OtherRequests others, RequestHeader request, ReadOnlyMemory<byte> payload, SharedBuffer? reply)
        : IThreadWork
    {
        private readonly long _startedAt = Stopwatch.GetTimestamp();

        public void Execute() => others.ServeElsewhere(request, payload, reply, _startedAt);
    }
}
