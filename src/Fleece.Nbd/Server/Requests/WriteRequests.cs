// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Serves the writes of one connection: at once, on another thread, or in pieces where no buffer holds one whole.</summary>
/// <remarks>
/// <para>A write in pieces is carried out as it arrives, so a client that stops in the middle holds nothing that others need. The protocol
/// lets a write that was not answered be there in part.</para>
/// <para>Threading. The connection's own thread only; a request that goes on by itself ends on any.</para>
/// </remarks>
internal sealed class WriteRequests(
    RequestReader reader,
    ReplyWriter replies,
    RequestService service,
    OtherRequests others,
    InFlightLimit inFlight,
    WorkThreads threads,
    RequestCounts counts)
{
    // Pieces end at multiples of this, so that storage sees whole blocks and clusters.
    private const int PieceBytes = SharedBuffer.BaseBytes;

    private readonly Pace _pace = Pace.OfChanges();

    /// <summary>Serves a write whose data the reader has given last.</summary>
    public void Serve(in RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        // A write that is to be durable keeps a thread as long as a flush does.
        bool isElsewhere = _pace.IsSlow && (reader.HasAnother || IsDurable(request));
        if (TryWrite(request, request, payload, null, isElsewhere, out Refusal refusal))
        {
            replies.Add(request, refusal);
        }
    }

    /// <summary>Serves a write whose data comes in pieces.</summary>
    /// <returns>False when the connection has to end.</returns>
    public bool TryServeInPieces(in RequestHeader request)
    {
        PiecedWrite whole = new();
        for (long doneBytes = 0; doneBytes < (long)request.Length;)
        {
            if (whole.Failure.Error != NbdError.None)
            {
                if (!reader.TrySkip((long)request.Length - doneBytes))
                {
                    return false;
                }

                break;
            }

            long offsetBytes = (long)request.Offset + doneBytes;
            int leftBytes = (int)((long)request.Length - doneBytes);
            int roomBytes = reader.MakeRoom(leftBytes);
            int pieceBytes = roomBytes == leftBytes ? leftBytes : (int)(((offsetBytes + roomBytes) & -PieceBytes) - offsetBytes);
            if (!reader.TryFill(pieceBytes))
            {
                return false;
            }

            RequestHeader piece = request with
            {
                Flags = request.Flags & ~CommandFlags.Fua,
                Offset = (ulong)offsetBytes,
                Length = (ulong)pieceBytes,
            };
            if (TryWrite(request, piece, reader.Take(pieceBytes), whole, _pace.IsSlow, out Refusal refusal))
            {
                whole.Note(refusal);
            }

            doneBytes += pieceBytes;
        }

        // Where pieces are under way, the one that ends last answers.
        if (whole.TryEnd())
        {
            counts.Note(request, whole.StartedAt, whole.Failure.Label);
            if (NeedsFlush(whole, request))
            {
                others.Serve(request with { Command = NbdCommand.Flush }, default);
            }
            else
            {
                replies.Add(request, whole.Failure);
            }
        }

        return true;
    }

    /// <summary>Writes a request or a piece of one.</summary>
    /// <param name="request">The client's request.</param>
    /// <param name="part">The part that is written now; all of it, or a piece.</param>
    /// <param name="payload">The part's data.</param>
    /// <param name="whole">The write that the part is a piece of; null when the part is all of the request.</param>
    /// <param name="isElsewhere">True to have another thread begin it.</param>
    /// <param name="refusal">How it ended, when it has.</param>
    /// <returns>False when it goes on by itself, and answers when it ends.</returns>
    private bool TryWrite(
        in RequestHeader request,
        in RequestHeader part,
        ReadOnlyMemory<byte> payload,
        PiecedWrite? whole,
        bool isElsewhere,
        out Refusal refusal)
    {
        refusal = default;
        ValueTask writing = default;
        long startedAt;
        if (!isElsewhere)
        {
            Pace.Start start = _pace.Begin();
            startedAt = start.Timestamp;
            try
            {
                writing = service.WriteAsync(part, payload);
                if (writing.IsCompleted)
                {
                    writing.GetAwaiter().GetResult();
                    _pace.Note(start, payload.Length, whole is null ? counts.Note(request, startedAt) : Stopwatch.GetTimestamp());
                    return true;
                }
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                refusal = Refusal.From(e, request);
                if (whole is null)
                {
                    counts.Note(request, startedAt, refusal.Label);
                }

                return true;
            }
        }
        else
        {
            startedAt = Stopwatch.GetTimestamp();
        }

        // A write that has begun before it was counted can't be held back any more, and one beyond the bound is no harm.
        SharedBuffer holder = reader.Share();
        whole?.Begin();
        inFlight.Enter(payload.Length);
        if (isElsewhere)
        {
            threads.Post(new Elsewhere(this, request, part, payload, whole, holder, startedAt));
        }
        else
        {
            _ = FinishAsync(request, writing, payload.Length, whole, holder, startedAt);
        }

        return false;
    }

    private void WriteElsewhere(
        in RequestHeader request,
        in RequestHeader part,
        ReadOnlyMemory<byte> payload,
        PiecedWrite? whole,
        SharedBuffer holder,
        long startedAt)
    {
        Pace.Start start = _pace.Begin();
        ValueTask writing;
        try
        {
            writing = service.WriteAsync(part, payload);
        }
#pragma warning disable CA1031 // The client gets it, as it does a later failure.
        catch (Exception e)
#pragma warning restore CA1031
        {
            writing = ValueTask.FromException(e);
        }

        _pace.Note(start, payload.Length, Stopwatch.GetTimestamp());
        _ = FinishAsync(request, writing, payload.Length, whole, holder, startedAt);
    }

    /// <summary>Waits for a write, releases its buffer, and posts the reply when no piece of the request is under way.</summary>
    private async Task FinishAsync(
        RequestHeader request, ValueTask writing, int payloadBytes, PiecedWrite? whole, SharedBuffer holder, long startedAt)
    {
        Refusal refusal = default;
        try
        {
            await writing.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The client gets every failure of its request; no caller waits for it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = Refusal.From(e, request);
        }

        holder.Release();
        whole?.Note(refusal);
        if (whole is null)
        {
            counts.Note(request, startedAt, refusal.Label);
            replies.PostShort(request, refusal, payloadBytes);
            return;
        }

        if (!whole.TryEnd())
        {
            inFlight.Exit(payloadBytes);
            return;
        }

        counts.Note(request, whole.StartedAt, whole.Failure.Label);
        if (NeedsFlush(whole, request))
        {
            await others.FlushAsync(request with { Command = NbdCommand.Flush }, payloadBytes).ConfigureAwait(false);
        }
        else
        {
            replies.PostShort(request, whole.Failure, payloadBytes);
        }
    }

    private static bool IsDurable(in RequestHeader request) => (request.Flags & CommandFlags.Fua) != 0;

    // Pieces are written without the flag, and one flush makes all of them durable.
    private static bool NeedsFlush(PiecedWrite whole, in RequestHeader request) =>
        IsDurable(request) && whole.Failure.Error == NbdError.None;

    /// <summary>A write that another thread begins.</summary>
    private sealed class Elsewhere(
        WriteRequests writes,
        RequestHeader request,
        RequestHeader part,
        ReadOnlyMemory<byte> payload,
        PiecedWrite? whole,
        SharedBuffer holder,
        long startedAt) : IThreadWork
    {
        public void Execute() => writes.WriteElsewhere(request, part, payload, whole, holder, startedAt);
    }

    /// <summary>A write whose pieces end one by one; the connection's own thread counts as one until it has begun the last.</summary>
    /// <remarks>Threading. Safe from any thread.</remarks>
    private sealed class PiecedWrite
    {
        private readonly Lock _lock = new();
        private int _pieces = 1;
        private Refusal _failure;

        /// <summary>The first failure so far.</summary>
        public Refusal Failure
        {
            get
            {
                lock (_lock)
                {
                    return _failure;
                }
            }
        }

        /// <summary>The timestamp of its beginning.</summary>
        public long StartedAt { get; } = Stopwatch.GetTimestamp();

        public void Begin() => Interlocked.Increment(ref _pieces);

        /// <summary>Notes how a piece ended.</summary>
        public void Note(Refusal refusal)
        {
            lock (_lock)
            {
                _failure = _failure.Error == NbdError.None ? refusal : _failure;
            }
        }

        /// <summary>True for the one that ends last, which answers.</summary>
        public bool TryEnd() => Interlocked.Decrement(ref _pieces) == 0;
    }
}
