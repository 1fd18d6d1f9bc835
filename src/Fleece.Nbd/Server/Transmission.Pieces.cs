// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <content>Requests for which there is no buffer that holds them whole.</content>
/// <remarks>
/// A write is carried out as it arrives, so a client that stops in the middle holds nothing that others need. The protocol lets a
/// write that was not answered be there in part. A read is sent as it is read.
/// </remarks>
internal sealed partial class Transmission
{
    // Pieces end at multiples of this, so that storage sees whole blocks and clusters.
    private const int PieceBytes = SharedBuffer.BaseBytes;

    private bool WriteInPieces(in RequestHeader request)
    {
        PiecedWrite write = new();
        for (long doneBytes = 0; doneBytes < (long)request.Length;)
        {
            if (write.Failure.Error != NbdError.None)
            {
                if (!_reader.TrySkip((long)request.Length - doneBytes))
                {
                    return false;
                }

                break;
            }

            long offsetBytes = (long)request.Offset + doneBytes;
            int leftBytes = (int)((long)request.Length - doneBytes);
            int roomBytes = _reader.MakeRoom(leftBytes);
            int pieceBytes = roomBytes == leftBytes ? leftBytes : (int)(((offsetBytes + roomBytes) & -PieceBytes) - offsetBytes);
            if (!_reader.TryFill(pieceBytes))
            {
                return false;
            }

            RequestHeader piece = request with
            {
                Flags = request.Flags & ~CommandFlags.Fua,
                Offset = (ulong)offsetBytes,
                Length = (ulong)pieceBytes,
            };
            WritePiece(write, request, piece, _reader.Take(pieceBytes));
            doneBytes += pieceBytes;
        }

        // Where pieces are under way, the one that ends last answers.
        return !write.TryEnd() || AnswerPieces(write, request);
    }

    private void WritePiece(PiecedWrite write, in RequestHeader request, in RequestHeader piece, ReadOnlyMemory<byte> payload)
    {
        if (_writePace.IsSlow)
        {
            SharedBuffer elsewhere = _reader.Share();
            write.Begin();
            _inFlight.Enter(payload.Length);
            _threads.Post(new PieceElsewhere(this, write, request, piece, payload, elsewhere));
            return;
        }

        Pace.Start start = _writePace.Begin();
        ValueTask writing;
        try
        {
            writing = _service.WriteAsync(piece, payload);
            if (writing.IsCompleted)
            {
                writing.GetAwaiter().GetResult();
                _writePace.Note(start, payload.Length);
                return;
            }
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            write.Fail(RequestFailure.From(e, request));
            return;
        }

        SharedBuffer holder = _reader.Share();
        write.Begin();
        _inFlight.Enter(payload.Length);
        _ = FinishPieceAsync(write, request, writing, payload.Length, holder);
    }

    // The pieces were written without the flag, and one flush makes them durable.
    private bool AnswerPieces(PiecedWrite write, in RequestHeader request) =>
        write.Failure.Error != NbdError.None ? ReplyError(request, write.Failure)
        : (request.Flags & CommandFlags.Fua) != 0 ? ServeOther(request with { Command = NbdCommand.Flush }, default)
        : ReplySuccess(request);

    private async Task FinishPieceAsync(
        PiecedWrite write, RequestHeader request, ValueTask writing, int pieceBytes, SharedBuffer holder)
    {
        try
        {
            await writing.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // As in FinishAsync.
        catch (Exception e)
#pragma warning restore CA1031
        {
            write.Fail(RequestFailure.From(e, request));
        }

        holder.Release();
        if (!write.TryEnd())
        {
            _inFlight.Exit(pieceBytes);
        }
        else if (write.Failure.Error == NbdError.None && (request.Flags & CommandFlags.Fua) != 0)
        {
            RequestHeader flush = request with { Command = NbdCommand.Flush };
            await FinishOtherAsync(flush, _service.ServeAsync(flush, default), null, pieceBytes).ConfigureAwait(false);
        }
        else
        {
            _replies.PostShort(request, write.Failure, pieceBytes);
        }
    }

    /// <summary>Reads and sends piece after piece. Simple replies, and those that may not be in several chunks, have no room for an error
    /// once data has been sent: then the connection ends.</summary>
    private bool ReadInPieces(in RequestHeader request)
    {
        // No reply of another request may come between the parts of this one.
        _replies.Flush();
        _inFlight.Drain();
        bool isOneChunk = !_format.IsStructured || (request.Flags & CommandFlags.DontFragment) != 0;

        // A piece may be shorter than the header of its own chunk.
        Span<byte> header = stackalloc byte[ReplyFormat.MaximumReadHeaderBytes];
        for (long doneBytes = 0; doneBytes < (long)request.Length;)
        {
            long offsetBytes = (long)request.Offset + doneBytes;
            int leftBytes = (int)((long)request.Length - doneBytes);
            int pieceBytes = leftBytes <= PieceBytes ? leftBytes : (int)(((offsetBytes + PieceBytes) & -PieceBytes) - offsetBytes);
            bool isLast = pieceBytes == leftBytes;
            Memory<byte> data = _replies.Reserve(PieceBytes)[..pieceBytes];
            RequestHeader piece = request with { Offset = (ulong)offsetBytes, Length = (ulong)pieceBytes };
            try
            {
                Await(_service.ReadAsync(piece, data));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                return (doneBytes == 0 || !isOneChunk) && ReplyError(request, RequestFailure.From(e, request));
            }

            if (!isOneChunk && data.Span.IndexOfAnyExcept((byte)0) < 0)
            {
                _replies.SendPart(header[.._format.WriteHole(header, request, offsetBytes, pieceBytes, isLast)]);
            }
            else
            {
                if (!isOneChunk || doneBytes == 0)
                {
                    (long lengthBytes, bool isAll) = isOneChunk ? ((long)request.Length, true) : (pieceBytes, isLast);
                    _format.WriteReadPrefix(header, request, offsetBytes, lengthBytes, isAll);
                    _replies.SendPart(header[.._format.ReadPrefixBytes]);
                }

                _replies.SendPart(data.Span);
            }

            doneBytes += pieceBytes;
        }

        return !_ended.IsCancellationRequested;
    }

    private void Await(ValueTask io)
    {
        if (!io.IsCompleted)
        {
            Task all = io.AsTask();
            AwaitInFlight(all);
            all.GetAwaiter().GetResult();
            return;
        }

        io.GetAwaiter().GetResult();
    }

    private StatusAnswer? Await(ValueTask<StatusAnswer?> serving)
    {
        Task<StatusAnswer?> all = serving.AsTask();
        AwaitInFlight(all);
        return all.GetAwaiter().GetResult();
    }

    // Without memory for more, the connection's thread waits for what is under way, as it does at the bound of requests in flight.
    private void AwaitInFlight(Task io)
    {
        _inFlight.Enter(0);
        _ = io.ContinueWith(
            static (_, limit) => ((InFlightLimit)limit!).Exit(0),
            _inFlight,
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
        _inFlight.Drain();
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

        public void Begin() => Interlocked.Increment(ref _pieces);

        public void Fail(Refusal failure)
        {
            lock (_lock)
            {
                _failure = _failure.Error == NbdError.None ? failure : _failure;
            }
        }

        /// <summary>True for the one that ends last, which answers.</summary>
        public bool TryEnd() => Interlocked.Decrement(ref _pieces) == 0;
    }

    /// <summary>A piece of a write that another thread begins.</summary>
    private sealed class PieceElsewhere(
        Transmission connection,
        PiecedWrite write,
        RequestHeader request,
        RequestHeader piece,
        ReadOnlyMemory<byte> payload,
        SharedBuffer holder) : IThreadWork
    {
        public void Execute()
        {
            Pace.Start start = connection._writePace.Begin();
            ValueTask writing;
            try
            {
                writing = connection._service.WriteAsync(piece, payload);
            }
#pragma warning disable CA1031 // Goes to the client, as what fails later does.
            catch (Exception e)
#pragma warning restore CA1031
            {
                writing = ValueTask.FromException(e);
            }

            connection._writePace.Note(start, payload.Length);
            _ = connection.FinishPieceAsync(write, request, writing, payload.Length, holder);
        }
    }
}
