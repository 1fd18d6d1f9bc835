// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <summary>The transmission phase of one connection, on the connection's own thread.</summary>
/// <remarks>
/// <para>The thread blocks in a receive, parses every request that came with it in place, serves each at once and sends the
/// replies together when it is about to block again. A request whose I/O does not complete at once goes on by itself: it keeps
/// the buffer it reads into or writes from, and its reply is posted when it ends. When the storage is slow
/// (<see cref="Pace"/>) and more requests wait, the reads among them are started ahead (<see cref="Lookahead"/>); writes, and reads of
/// storage that can't do that, are served by other threads, and slow flushes always are.</para>
/// <para>Threading. <see cref="Run"/> on the connection's own thread.</para>
/// </remarks>
internal sealed partial class Transmission : IDisposable
{
    private readonly RequestReader _reader;
    private readonly ReplyWriter _replies;
    private readonly ReplyFormat _format;
    private readonly RequestRules _rules;
    private readonly RequestService _service;
    private readonly InFlightLimit _inFlight = new();
    private readonly Lookahead _lookahead;
    private readonly Pace _readPace;
    private readonly Pace _writePace = Pace.OfChanges();
    private readonly Pace _otherPace = Pace.OfChanges();
    private readonly MemoryBudget _budget;
    private readonly int _contextCount;
    private readonly WorkThreads _threads;
    private readonly CancellationToken _ended;
    private readonly bool _isExtended;

    public Transmission(Negotiated negotiated, MemoryBudget budget, WorkThreads threads, CancellationTokenSource ended, string name)
    {
        _format = new ReplyFormat(negotiated.IsStructured, negotiated.IsExtended);
        _replies = new ReplyWriter(negotiated.Stream, _format, budget, _inFlight, ended, name);
        _reader = new RequestReader(negotiated.Stream, budget, _inFlight) { BeforeReceive = _replies.Flush };
        _rules = new RequestRules(
            negotiated.Export, negotiated.IsStructured, negotiated.IsExtended, negotiated.Contexts.Count != 0);
        _service = new RequestService(negotiated.Export, _rules, negotiated.Contexts, negotiated.IsExtended, budget, ended.Token);
        _lookahead = new Lookahead(_reader, _rules, _service, negotiated.IsExtended);
        _readPace = _lookahead.IsPossible ? Pace.OfReadsStartedAhead() : Pace.OfReads();
        _budget = budget;
        _contextCount = negotiated.Contexts.Count;
        _threads = threads;
        _ended = ended.Token;
        _isExtended = negotiated.IsExtended;
    }

    /// <summary>True when no further request is to be taken, although the client may have sent some.</summary>
    public Func<bool> IsOver { get; init; } = static () => false;

    /// <summary>Serves requests until the client leaves, breaks the protocol, or the connection is ended. What was accepted
    /// is finished and answered.</summary>
    public void Run()
    {
        while (!_ended.IsCancellationRequested && !IsOver() && TryServeNext())
        {
        }
    }

    /// <summary>Waits for the requests under way and sends what they answer.</summary>
    public void Dispose()
    {
        _inFlight.Drain();
        _replies.Flush();
        _replies.Dispose();
        _reader.Dispose();
    }

    private bool TryServeNext()
    {
        int headerBytes = RequestHeader.SizeBytes(_isExtended);
        if (!_reader.TryFill(headerBytes))
        {
            return false;
        }

        if (_readPace.IsSlow && _lookahead.IsPossible)
        {
            // Replies that are ready must not wait for a disk with what comes next.
            _replies.Flush();
            _lookahead.Look();
        }

        bool isAhead = _reader.HasSeenNext;
        if (!RequestHeader.TryRead(_reader.Peek(headerBytes), _isExtended, out RequestHeader request))
        {
            return false;
        }

        _reader.Take(headerBytes);
        if (request.Command == NbdCommand.Disconnect)
        {
            return false;
        }

        Refusal refusal = _rules.Check(request);
        ulong payloadBytes = request.PayloadBytes(_isExtended);
        if (refusal.Error != NbdError.None)
        {
            return payloadBytes <= NbdLimits.MaximumSkippedPayloadBytes && _reader.TrySkip((long)payloadBytes) &&
                ReplyError(request, refusal);
        }

        // A payload that is not here may be longer than what there is memory for. Only a write's can be.
        if (_reader.AvailableBytes < (int)payloadBytes && _reader.MakeRoom((int)payloadBytes) < (int)payloadBytes)
        {
            return WriteInPieces(request);
        }

        if (!_reader.TryFill((int)payloadBytes))
        {
            return false;
        }

        ReadOnlyMemory<byte> payload = _reader.Take((int)payloadBytes);
        return request.Command switch
        {
            NbdCommand.Read => Read(request, isAhead),
            NbdCommand.Write => Write(request, payload),
            _ => ServeOther(request, payload),
        };
    }

    private bool Read(in RequestHeader request, bool isAhead)
    {
        if (isAhead)
        {
            _lookahead.Leave(request);
        }

        int lengthBytes = (int)request.Length;
        if (lengthBytes == 0)
        {
            return ReplySuccess(request);
        }

        int replyBytes = Math.Max(_format.ReadPrefixBytes + lengthBytes, ReplyFormat.MaximumShortReplyBytes);
        if (_readPace.IsSlow && !_lookahead.IsPossible && HasCompany && SharedBuffer.TryRent(replyBytes, _budget) is { } apart)
        {
            SendElsewhere(request, default, null, apart);
            return true;
        }

        Memory<byte> reply = _replies.Reserve(replyBytes);
        if (reply.IsEmpty)
        {
            return ReadInPieces(request);
        }

        Pace.Start start = _readPace.Begin();
        ValueTask reading;
        try
        {
            reading = _service.ReadAsync(request, reply.Slice(_format.ReadPrefixBytes, lengthBytes));
            if (reading.IsCompleted)
            {
                reading.GetAwaiter().GetResult();
                _readPace.Note(start, lengthBytes);
                _replies.Commit(FormatRead(reply.Span, request));
                return true;
            }
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return ReplyError(request, RequestFailure.From(e, request));
        }

        (SharedBuffer buffer, int offsetBytes) = _replies.TakeBatch();
        _inFlight.Enter(lengthBytes);
        _ = FinishAsync(request, reading, buffer, offsetBytes, null);
        _replies.RenewBatch();
        return true;
    }

    private bool Write(in RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        // A write that is to be durable keeps a thread as long as a flush does.
        if (_writePace.IsSlow && (HasCompany || (request.Flags & CommandFlags.Fua) != 0))
        {
            SendElsewhere(request, payload, _reader.Share(), null);
            return true;
        }

        Pace.Start start = _writePace.Begin();
        ValueTask writing;
        try
        {
            writing = _service.WriteAsync(request, payload);
            if (writing.IsCompleted)
            {
                writing.GetAwaiter().GetResult();
                _writePace.Note(start, payload.Length);
                return ReplySuccess(request);
            }
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return ReplyError(request, RequestFailure.From(e, request));
        }

        // The request was started before it was counted: it can't be held back any more, and one beyond the bound is no harm.
        SharedBuffer holder = _reader.Share();
        _inFlight.Enter(payload.Length);
        _ = FinishAsync(request, writing, null, 0, holder);
        return true;
    }

    private bool ServeOther(in RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        // A payload here is a few words of a block status; a copy spares the buffer from being shared.
        ReadOnlyMemory<byte> kept = payload.IsEmpty ? payload : payload.ToArray();

        // Also without company: a flush keeps a thread for many reads' time, and those come while it does.
        if (_otherPace.IsSlow && TryRentStatus(request, out SharedBuffer? apart))
        {
            _inFlight.Enter(0);
            _threads.Post(new OtherElsewhere(this, request, kept, apart));
            return true;
        }

        Pace.Start start = _otherPace.Begin();
        ValueTask<StatusAnswer?> serving = _service.ServeAsync(request, kept);
        if (serving.IsCompleted)
        {
            _otherPace.Note(start, 0);
        }
        else if (TryRentStatus(request, out SharedBuffer? status))
        {
            _inFlight.Enter(0);
            _ = FinishOtherAsync(request, serving, status, 0);
            return true;
        }

        try
        {
            StatusAnswer? served = serving.IsCompleted ? serving.GetAwaiter().GetResult() : Await(serving);
            return served is { } answer ? ReplyStatus(request, answer) : ReplySuccess(request);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return ReplyError(request, RequestFailure.From(e, request));
        }
    }

    private bool HasCompany => _reader.AvailableBytes >= RequestHeader.CompactBytes;

    private int FormatReadOrError(Span<byte> reply, in RequestHeader request, Refusal refusal) =>
        refusal.Error == NbdError.None ? FormatRead(reply, request) : _format.WriteShort(reply, request, refusal);

    // Zeros are cheap to see, because the first other byte ends the search, and dear to send.
    private int FormatRead(Span<byte> reply, in RequestHeader request)
    {
        Span<byte> data = reply.Slice(_format.ReadPrefixBytes, (int)request.Length);
        if (_format.IsStructured && data.IndexOfAnyExcept((byte)0) < 0)
        {
            return _format.WriteHole(reply, request);
        }

        _format.WriteReadPrefix(reply, request);
        return _format.ReadPrefixBytes + data.Length;
    }

    private bool ReplySuccess(in RequestHeader request)
    {
        Memory<byte> reply = _replies.Reserve(ReplyFormat.MaximumShortReplyBytes);
        _replies.Commit(_format.WriteSuccess(reply.Span, request));
        return true;
    }

    private bool ReplyError(in RequestHeader request, Refusal refusal)
    {
        Memory<byte> reply = _replies.Reserve(ReplyFormat.MaximumShortReplyBytes);
        _replies.Commit(_format.WriteError(reply.Span, request, refusal.Error, refusal.Message));
        return true;
    }

    private bool ReplyStatus(in RequestHeader request, StatusAnswer answer)
    {
        for (int i = 0; i < answer.Contexts.Count; i++)
        {
            Memory<byte> reply = _replies.Reserve(_format.StatusPrefixBytes + answer.Contexts[i].Extents.Count * _format.ExtentBytes);
            _replies.Commit(FormatStatus(reply.Span, request, answer, i));
        }

        return true;
    }

    private int FormatStatus(Span<byte> reply, in RequestHeader request, StatusAnswer answer, int index)
    {
        (uint contextId, List<StatusExtent> extents) = answer.Contexts[index];
        _format.WriteStatusPrefix(reply, request, contextId, extents.Count, index == answer.Contexts.Count - 1);
        int atBytes = _format.StatusPrefixBytes;
        foreach (StatusExtent extent in extents)
        {
            _format.WriteExtent(reply[atBytes..], extent);
            atBytes += _format.ExtentBytes;
        }

        return atBytes;
    }
}
