// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>The transmission phase of one connection, on the connection's own thread.</summary>
/// <remarks>
/// <para>The thread blocks in a receive, parses every request that came with it in place, serves each at once and sends the
/// replies together when it is about to block again. A request whose I/O does not complete at once goes on by itself: it keeps
/// the buffer it reads into or writes from, and its reply is posted when it ends. When the storage is slow
/// (<see cref="Pace"/>) and more requests wait, the reads among them are started ahead (<see cref="Lookahead"/>); writes, and reads of
/// storage that can't do that, are served by other threads, and slow flushes always are.</para>
/// <para>Threading. <see cref="Run"/> on the connection's own thread.</para>
/// </remarks>
internal sealed class Transmission : IDisposable
{
    private readonly RequestReader _reader;
    private readonly RequestRules _rules;
    private readonly ReadRequests _reads;
    private readonly WriteRequests _writes;
    private readonly OtherRequests _others;
    private readonly ReplyWriter _replies;
    private readonly InFlightLimit _inFlight = new();
    private readonly RequestCounts _counts;
    private readonly CancellationToken _ended;
    private readonly bool _isExtended;

    public Transmission(Negotiated negotiated, MemoryBudget budget, WorkThreads threads, CancellationTokenSource ended, string name)
    {
        _ended = ended.Token;
        _counts = new RequestCounts(negotiated.Export.Traffic, () => _inFlight.RequestCount);
        _isExtended = negotiated.IsExtended;
        ReplyFormat format = new(negotiated.IsStructured, negotiated.IsExtended, negotiated.Export.TellsKinds);
        _replies = new ReplyWriter(negotiated.Stream, format, budget, _inFlight, ended, name);
        _reader = new RequestReader(negotiated.Stream, budget, _inFlight) { BeforeReceive = _replies.Flush };
        _rules = new RequestRules(
            negotiated.Export, negotiated.IsStructured, negotiated.IsExtended, negotiated.Contexts.Count != 0);
        RequestService service = new(negotiated.Export, _rules, negotiated.Contexts, negotiated.IsExtended, budget, _ended);
        Lookahead lookahead = new(_reader, _rules, service, negotiated.IsExtended);
        _reads = new ReadRequests(_reader, _replies, service, lookahead, _inFlight, budget, threads, _counts);
        _others = new OtherRequests(_replies, service, negotiated.Contexts.Count, _inFlight, budget, threads, _counts);
        _writes = new WriteRequests(_reader, _replies, service, _others, _inFlight, threads, _counts);
    }

    /// <summary>True when no further request is to be taken, although the client may have sent some.</summary>
    public Func<bool> IsOver { get; init; } = static () => false;

    /// <summary>Serves requests until the client leaves, breaks the protocol, or the connection is ended. Requests that
    /// were accepted are finished and answered.</summary>
    public void Run()
    {
        _counts.Begin();
        while (!_ended.IsCancellationRequested && !IsOver() && TryServeNext())
        {
        }
    }

    /// <summary>Waits for the requests under way and sends their replies.</summary>
    public void Dispose()
    {
        _inFlight.Drain();
        _counts.End();
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

        _reads.LookAhead();
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
            return TryRefuse(request, refusal, payloadBytes);
        }

        // A payload that has not come may be longer than the memory there is. Only a write's can be.
        if (_reader.AvailableBytes < (int)payloadBytes && _reader.MakeRoom((int)payloadBytes) < (int)payloadBytes)
        {
            return _writes.TryServeInPieces(request);
        }

        if (!_reader.TryFill((int)payloadBytes))
        {
            return false;
        }

        ReadOnlyMemory<byte> payload = _reader.Take((int)payloadBytes);
        switch (request.Command)
        {
            case NbdCommand.Read:
                return _reads.TryServe(request, isAhead);
            case NbdCommand.Write:
                _writes.Serve(request, payload);
                return true;
            default:
                _others.Serve(request, payload);
                return true;
        }
    }

    private bool TryRefuse(in RequestHeader request, Refusal refusal, ulong payloadBytes)
    {
        if (payloadBytes > NbdLimits.MaximumSkippedPayloadBytes || !_reader.TrySkip((long)payloadBytes))
        {
            return false;
        }

        _counts.NoteRefused(refusal.Label!);
        _replies.Add(request, refusal);
        return true;
    }
}
