// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Serves the reads of one connection: at once, on another thread, or in pieces where no buffer holds one whole.</summary>
/// <remarks>Threading. The connection's own thread only; a request that goes on by itself ends on any.</remarks>
internal sealed class ReadRequests(
    RequestReader reader,
    ReplyWriter replies,
    RequestService service,
    Lookahead lookahead,
    InFlightLimit inFlight,
    MemoryBudget budget,
    WorkThreads threads,
    RequestCounts counts)
{
    // Pieces end at multiples of this, so that storage sees whole blocks and clusters.
    private const int PieceBytes = SharedBuffer.BaseBytes;

    private readonly ReplyFormat _format = replies.Format;
    private readonly Pace _pace = lookahead.IsPossible ? Pace.OfReadsStartedAhead() : Pace.OfReads();

    /// <summary>Starts the reads among the requests that have come, where the storage is slow and can do that.</summary>
    public void LookAhead()
    {
        if (_pace.IsSlow && lookahead.IsPossible)
        {
            // Replies that are ready must not wait for the disk with the next ones.
            replies.Flush();
            lookahead.Look();
        }
    }

    /// <summary>Serves a read.</summary>
    /// <param name="request">The read.</param>
    /// <param name="isAhead">True when <see cref="LookAhead"/> has seen it.</param>
    /// <returns>False when the connection has to end.</returns>
    public bool TryServe(in RequestHeader request, bool isAhead)
    {
        if (isAhead)
        {
            lookahead.Leave(request);
        }

        int lengthBytes = (int)request.Length;
        if (lengthBytes == 0)
        {
            replies.Add(request, default);
            return true;
        }

        int replyBytes = Math.Max(_format.ReadPrefixBytes + lengthBytes, ReplyFormat.MaximumShortReplyBytes);
        if (_pace.IsSlow && !lookahead.IsPossible && reader.HasAnother && SharedBuffer.TryRent(replyBytes, budget) is { } apart)
        {
            inFlight.Enter(lengthBytes);
            threads.Post(new Elsewhere(this, request, apart));
            return true;
        }

        Memory<byte> reply = replies.Reserve(replyBytes);
        if (reply.IsEmpty)
        {
            return TryServeInPieces(request);
        }

        Pace.Start start = _pace.Begin();
        ValueTask reading;
        try
        {
            reading = service.ReadAsync(request, reply.Slice(_format.ReadPrefixBytes, lengthBytes));
            if (reading.IsCompleted)
            {
                reading.GetAwaiter().GetResult();
                _pace.Note(start, lengthBytes, counts.Note(request, start.Timestamp));
                replies.Commit(_format.WriteRead(reply.Span, request));
                return true;
            }
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            AddFailure(request, start.Timestamp, e);
            return true;
        }

        (SharedBuffer buffer, int offsetBytes) = replies.TakeBatch();
        inFlight.Enter(lengthBytes);
        _ = FinishAsync(request, reading, buffer, offsetBytes, start.Timestamp);
        replies.RenewBatch();
        return true;
    }

    /// <summary>Reads and sends piece after piece. Simple replies, and those that may not be in several chunks, have no room for an error
    /// once data has been sent: then the connection ends.</summary>
    private bool TryServeInPieces(in RequestHeader request)
    {
        long startedAt = Stopwatch.GetTimestamp();

        // No reply of another request may come between the parts of this one.
        replies.Flush();
        inFlight.Drain();
        bool isOneChunk = !_format.IsStructured || (request.Flags & CommandFlags.DontFragment) != 0;

        // A piece may be shorter than the header of its own chunk.
        Span<byte> header = stackalloc byte[ReplyFormat.MaximumReadHeaderBytes];
        for (long doneBytes = 0; doneBytes < (long)request.Length;)
        {
            long offsetBytes = (long)request.Offset + doneBytes;
            int leftBytes = (int)((long)request.Length - doneBytes);
            int pieceBytes = leftBytes <= PieceBytes ? leftBytes : (int)(((offsetBytes + PieceBytes) & -PieceBytes) - offsetBytes);
            bool isLast = pieceBytes == leftBytes;
            Memory<byte> data = replies.Reserve(PieceBytes)[..pieceBytes];
            RequestHeader piece = request with { Offset = (ulong)offsetBytes, Length = (ulong)pieceBytes };
            try
            {
                Task reading = service.ReadAsync(piece, data).AsTask();
                inFlight.Await(reading);
                reading.GetAwaiter().GetResult();
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                if (doneBytes != 0 && isOneChunk)
                {
                    return false;
                }

                AddFailure(request, startedAt, e);
                return true;
            }

            if (!isOneChunk && data.Span.IndexOfAnyExcept((byte)0) < 0)
            {
                replies.SendPart(header[.._format.WriteHole(header, request, offsetBytes, pieceBytes, isLast)]);
            }
            else
            {
                if (!isOneChunk || doneBytes == 0)
                {
                    (long lengthBytes, bool isAll) = isOneChunk ? ((long)request.Length, true) : (pieceBytes, isLast);
                    _format.WriteReadPrefix(header, request, offsetBytes, lengthBytes, isAll);
                    replies.SendPart(header[.._format.ReadPrefixBytes]);
                }

                replies.SendPart(data.Span);
            }

            doneBytes += pieceBytes;
        }

        counts.Note(request, startedAt);
        return true;
    }

    private void AddFailure(in RequestHeader request, long startedAt, Exception failure)
    {
        Refusal refusal = Refusal.From(failure, request);
        counts.Note(request, startedAt, refusal.Label);
        replies.Add(request, refusal);
    }

    /// <summary>Waits for a read and posts its reply.</summary>
    private async Task FinishAsync(RequestHeader request, ValueTask reading, SharedBuffer reply, int offsetBytes, long startedAt)
    {
        Refusal refusal = default;
        try
        {
            await reading.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The client gets every failure of its request; no caller waits for it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = Refusal.From(e, request);
        }

        counts.Note(request, startedAt, refusal.Label);
        Span<byte> bytes = reply.Bytes.Span[offsetBytes..];
        int replyBytes = refusal.Error == NbdError.None ? _format.WriteRead(bytes, request) : _format.WriteShort(bytes, request, refusal);
        replies.Post(reply, offsetBytes, replyBytes, (long)request.Length);
    }

    private void ServeElsewhere(in RequestHeader request, SharedBuffer reply, long startedAt)
    {
        Pace.Start start = _pace.Begin();
        ValueTask reading;
        try
        {
            reading = service.ReadAsync(request, reply.Bytes.Slice(_format.ReadPrefixBytes, (int)request.Length));
        }
#pragma warning disable CA1031 // The client gets it, as it does a later failure.
        catch (Exception e)
#pragma warning restore CA1031
        {
            reading = ValueTask.FromException(e);
        }

        _pace.Note(start, (long)request.Length, Stopwatch.GetTimestamp());
        _ = FinishAsync(request, reading, reply, 0, startedAt);
    }

    /// <summary>A read that another thread begins.</summary>
    private sealed class Elsewhere(ReadRequests reads, RequestHeader request, SharedBuffer reply) : IThreadWork
    {
        private readonly long _startedAt = Stopwatch.GetTimestamp();

        public void Execute() => reads.ServeElsewhere(request, reply, _startedAt);
    }
}
