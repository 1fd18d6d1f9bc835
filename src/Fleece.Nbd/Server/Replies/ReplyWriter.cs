// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Replies;

/// <summary>The sending side of a connection: replies gather in one buffer and leave together.</summary>
/// <remarks>
/// <para>Replies of requests that the connection's own thread served are reserved, written and committed in the batch; it
/// leaves when the thread is about to wait for the client, or when it is full. A reply of a request that ended elsewhere leaves
/// at once from the thread that ended it where the socket has room for it; otherwise it is posted, and a thread that starts with
/// the first of those sends them. So no thread of somebody else ever waits for a client that does not read. A posted reply
/// counts as in flight until it was sent, so a client that does not read can't gather more of them than the limit allows. One
/// without data needs no buffer: it is written when it is sent.</para>
/// <para>Threading. <see cref="Reserve"/>, <see cref="Commit"/>, <see cref="Add"/>, <see cref="TakeBatch"/>, <see cref="RenewBatch"/>,
/// <see cref="SendPart"/> and <see cref="Flush()"/> from the connection's own thread; the two that post from any.</para>
/// </remarks>
internal sealed class ReplyWriter : IDisposable
{
    // A reader can take the first replies while the next are made.
    private const int FlushThresholdBytes = 256 * 1024;

    // Posted replies up to this size are copied together; a larger one is worth a system call.
    private const int SmallReplyBytes = 16 * 1024;

    // On the sending thread's stack, which is several times as large.
    private const int GatheredBytes = 32 * 1024;

    private readonly Lock _sendLock = new();
    private readonly object _postLock = new();
    private readonly Queue<Posted> _posted = [];
    private readonly Stream _stream;
    private readonly Socket? _socket;
    private readonly int _directBytes;
    private readonly MemoryBudget _budget;
    private readonly InFlightLimit _inFlight;
    private readonly CancellationTokenSource _connectionEnded;
    private readonly string _name;
    private readonly SharedBuffer _base;
    private SharedBuffer _batch;
    private int _usedBytes;
    private Thread? _sender;
    private bool _isClosing;

    public ReplyWriter(
        Stream stream,
        ReplyFormat format,
        MemoryBudget budget,
        InFlightLimit inFlight,
        CancellationTokenSource connectionEnded,
        string name)
    {
        _stream = stream;
        Format = format;
        _socket = (stream as NetworkStream)?.Socket;
        _directBytes = _socket is null ? 0 : LongestDirectReply(_socket);
        _budget = budget;
        _inFlight = inFlight;
        _connectionEnded = connectionEnded;
        _name = name;
        _base = _batch = SharedBuffer.RentBase();
    }

    /// <summary>The form of the replies.</summary>
    public ReplyFormat Format { get; }

    /// <summary>Starts the sending thread; tests make it fail as a system without threads does.</summary>
    internal Action<Thread> StartThread { get; init; } = static thread => thread.Start();

    /// <summary>Room for a reply in the batch; empty when there is no memory for one of more than
    /// <see cref="SharedBuffer.BaseBytes"/>.</summary>
    public Memory<byte> Reserve(int bytes)
    {
        if (_usedBytes + bytes > _batch.LengthBytes || _usedBytes >= FlushThresholdBytes)
        {
            // A first buffer that many replies have filled is worth a larger one, which saves the next ones system calls.
            bool isTooSmall = _batch == _base && _usedBytes != 0;
            Flush();
            if (isTooSmall && bytes <= SharedBuffer.ComfortBytes && SharedBuffer.TryRentComfort(_budget) is { } larger)
            {
                _batch = larger;
            }
        }

        return bytes <= _batch.LengthBytes || TryGrow(bytes) ? _batch.Bytes.Slice(_usedBytes, bytes) : default;
    }

    /// <summary>Adds the reserved bytes to the batch.</summary>
    public void Commit(int bytes) => _usedBytes += bytes;

    /// <summary>Adds a reply without data to the batch.</summary>
    /// <param name="request">The request that it answers.</param>
    /// <param name="refusal">Why it failed; default for a success.</param>
    public void Add(in RequestHeader request, Refusal refusal)
    {
        Memory<byte> reply = Reserve(ReplyFormat.MaximumShortReplyBytes);
        Commit(Format.WriteShort(reply.Span, request, refusal));
    }

    /// <summary>
    /// Hands the batch's buffer to a request that goes on filling what it has reserved; what was committed before leaves at
    /// once. The reserved bytes then begin at the returned offset. <see cref="RenewBatch"/> must follow.
    /// </summary>
    public (SharedBuffer Buffer, int OffsetBytes) TakeBatch()
    {
        int offsetBytes = _usedBytes;
        Send(_batch.Bytes.Span[..offsetBytes]);
        _usedBytes = 0;
        if (_batch == _base)
        {
            _base.AddUser();
        }

        return (_batch, offsetBytes);
    }

    /// <summary>
    /// Takes another buffer in place of the one that was handed over. Without memory for one this waits for the connection's own
    /// requests, so the request that got the other must be under way by now.
    /// </summary>
    public void RenewBatch()
    {
        if (_base.IsShared && SharedBuffer.TryRent(SharedBuffer.BaseBytes, _budget) is { } other)
        {
            _batch = other;
            return;
        }

        if (_base.IsShared)
        {
            _inFlight.Drain();
        }

        _batch = _base;
    }

    /// <summary>Sends the batch.</summary>
    public void Flush()
    {
        Send(_batch.Bytes.Span[.._usedBytes]);
        _usedBytes = 0;
        if (!_batch.IsLasting && (_batch.LengthBytes > SharedBuffer.BaseBytes || !_base.IsShared))
        {
            _batch.Release();
            RenewBatch();
        }
    }

    /// <summary>Sends a part of a reply that no buffer takes whole; the batch must be empty.</summary>
    public void SendPart(ReadOnlySpan<byte> part) => Send(part);

    /// <summary>Sends a reply soon, from another thread. The buffer's user passes to the writer, and so does the request's
    /// place in flight.</summary>
    /// <param name="buffer">Holds the reply.</param>
    /// <param name="offsetBytes">Where the reply begins.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="inFlightBytes">What the request counted in the limit.</param>
    public void Post(SharedBuffer buffer, int offsetBytes, int lengthBytes, long inFlightBytes)
    {
        if (lengthBytes <= _directBytes && TrySendAtOnce(buffer.Bytes.Span.Slice(offsetBytes, lengthBytes)))
        {
            buffer.Release();
            _inFlight.Exit(inFlightBytes);
            return;
        }

        Enqueue(new Posted(buffer, offsetBytes, lengthBytes, default, default, inFlightBytes));
    }

    /// <summary>Sends a reply without data soon, from another thread. The request's place in flight passes to the writer.</summary>
    /// <param name="request">What is answered.</param>
    /// <param name="refusal">Why it failed; default for a success.</param>
    /// <param name="inFlightBytes">What the request counted in the limit.</param>
    public void PostShort(in RequestHeader request, Refusal refusal, long inFlightBytes)
    {
        Span<byte> reply = stackalloc byte[ReplyFormat.MaximumShortReplyBytes];
        if (_directBytes != 0 && TrySendAtOnce(reply[..Format.WriteShort(reply, request, refusal)]))
        {
            _inFlight.Exit(inFlightBytes);
            return;
        }

        Enqueue(new Posted(null, 0, 0, request, refusal, inFlightBytes));
    }

    /// <summary>Sends what was posted and ends the sending thread. No request may be running any more.</summary>
    public void Dispose()
    {
        lock (_postLock)
        {
            _isClosing = true;
            Monitor.Pulse(_postLock);
        }

        _sender?.Join();
        Leave();
        _base.Release();
    }

    private void Enqueue(Posted reply)
    {
        lock (_postLock)
        {
            if (_sender is not null || TryStartSender())
            {
                _posted.Enqueue(reply);
                Monitor.Pulse(_postLock);
                return;
            }
        }

        // Nobody can send this reply, and a connection that owes one is worth nothing: it ends, and its requests with it.
        EndConnection();
        reply.Buffer?.Release();
        _inFlight.Exit(reply.InFlightBytes);
    }

    private bool TryGrow(int bytes)
    {
        SharedBuffer? larger = bytes <= SharedBuffer.ComfortBytes ? SharedBuffer.TryRentComfort(_budget) : null;
        larger ??= SharedBuffer.TryRent(bytes, _budget);
        if (larger is null)
        {
            return false;
        }

        Leave();
        _batch = larger;
        return true;
    }

    private void Leave()
    {
        if (_batch != _base)
        {
            _batch.Release();
        }
    }

    // Under the lock of what is posted.
    private bool TryStartSender()
    {
        try
        {
            Thread sender = new(SendPosted, WorkThreads.StackBytes) { IsBackground = true, Name = $"{_name} replies" };
            StartThread(sender);
            _sender = sender;
            return true;
        }
        catch (OutOfMemoryException)
        {
            return false;
        }
    }

    private void EndConnection()
    {
        _connectionEnded.Cancel();
        _stream.Dispose();
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return;
        }

        lock (_sendLock)
        {
            if (_connectionEnded.IsCancellationRequested)
            {
                return;
            }

            try
            {
                _stream.Write(bytes);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The client is gone, or has not read for too long. Closing wakes the thread that waits for its requests.
                EndConnection();
            }
        }
    }

    // A socket that can be written to has room for a good part of its buffer: on Linux three quarters of a unix socket's, and a
    // third of TCP's. A reply far below that never waits.
    private static int LongestDirectReply(Socket socket) =>
        socket.AddressFamily == AddressFamily.Unix ? Math.Max(SmallReplyBytes, socket.SendBufferSize / 3) : SmallReplyBytes;

    private bool TrySendAtOnce(ReadOnlySpan<byte> bytes)
    {
        if (!_sendLock.TryEnter())
        {
            return false;
        }

        try
        {
            if (!_connectionEnded.IsCancellationRequested && !_socket!.Poll(0, SelectMode.SelectWrite))
            {
                return false;
            }

            Send(bytes);
            return true;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The connection has ended, and its replies with it.
            return true;
        }
        finally
        {
            _sendLock.Exit();
        }
    }

    private void SendPosted()
    {
        List<Posted> taken = [];
        Span<byte> gathered = stackalloc byte[GatheredBytes];
        while (TakePosted(taken))
        {
            int gatheredBytes = 0;
            foreach (Posted reply in taken)
            {
                bool isSmall = reply.Buffer is null || reply.LengthBytes <= SmallReplyBytes;
                if (!isSmall || gatheredBytes + Math.Max(reply.LengthBytes, ReplyFormat.MaximumShortReplyBytes) > gathered.Length)
                {
                    Send(gathered[..gatheredBytes]);
                    gatheredBytes = 0;
                }

                if (reply.Buffer is null)
                {
                    gatheredBytes += Format.WriteShort(gathered[gatheredBytes..], reply.Request, reply.Refusal);
                }
                else if (reply.Buffer.Bytes.Span.Slice(reply.OffsetBytes, reply.LengthBytes) is var bytes && isSmall)
                {
                    bytes.CopyTo(gathered[gatheredBytes..]);
                    gatheredBytes += bytes.Length;
                }
                else
                {
                    Send(bytes);
                }

                reply.Buffer?.Release();
                _inFlight.Exit(reply.InFlightBytes);
            }

            Send(gathered[..gatheredBytes]);
            taken.Clear();
        }
    }

    private bool TakePosted(List<Posted> taken)
    {
        lock (_postLock)
        {
            while (_posted.Count == 0)
            {
                if (_isClosing)
                {
                    return false;
                }

                Monitor.Wait(_postLock);
            }

            while (_posted.TryDequeue(out Posted reply))
            {
                taken.Add(reply);
            }

            return true;
        }
    }

    /// <summary>A reply in a buffer, or one without data that is not written yet.</summary>
    private readonly record struct Posted(
        SharedBuffer? Buffer, int OffsetBytes, int LengthBytes, RequestHeader Request, Refusal Refusal, long InFlightBytes);
}
