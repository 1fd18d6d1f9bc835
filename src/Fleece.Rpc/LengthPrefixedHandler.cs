// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Hosting.Rpc;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;
using StreamJsonRpc.Reflection;

namespace Fleece.Rpc;

/// <summary>Messages on a stream: four bytes of length, big-endian, then as many bytes of UTF-8 JSON.</summary>
/// <remarks>
/// <para>The length is judged before room is made for the message. Requests that are read and not yet answered are limited too: beyond
/// twice the calls that may run, nothing more is read until an answer is sent, so a peer that sends and never reads is held back by its
/// own socket. An answer that the peer does not take in time ends the connection.</para>
/// <para>A message is large by <see cref="RpcLimits.SmallMessageBytes"/>. Before the first answer without an error the peer may be a
/// stranger, and a large one ends the connection. Later a large request waits, received and not yet parsed, until its connection has no
/// other one that is unanswered, and all connections together have room. Two unanswered requests with one id end the connection.</para>
/// <para>Threading. As the base: one read and one write at a time.</para>
/// </remarks>
internal sealed class LengthPrefixedHandler(Stream stream, RpcLimits limits)
    : MessageHandlerBase(new SystemTextJsonFormatter()), IJsonRpcMessageBufferManager
{
    private const int PrefixBytes = 4;

    // Rooms larger than this last no longer than their message.
    private const int KeptBytes = 64 * 1024;

    private readonly SemaphoreSlim _unanswered = new(2 * limits.MaximumCalls);
    private readonly SemaphoreSlim _large = new(1);
    private readonly Dictionary<RequestId, bool> _open = []; // Unanswered requests, and whether each is large; its own lock.
    private int _largeHeld;
    private volatile bool _hasAnswered;
    private volatile bool _isAborted;
    private byte[] _received = new byte[4096];
    private int _start;
    private int _end;
    private ArrayBufferWriter<byte> _sending = new(4096);
    private CancellationTokenSource _deadline = new();

    public override bool CanRead => true;

    public override bool CanWrite => true;

    /// <summary>The message's text is not needed any more: its bytes are free for the next one.</summary>
    public void DeserializationComplete(JsonRpcMessage message) =>
        (message as IJsonRpcMessageBufferManager)?.DeserializationComplete(message);

    /// <summary>Ends the connection at once; reads and writes under way fail.</summary>
    public void Abort()
    {
        _isAborted = true;
        stream.Dispose();
        ReleaseLarge();
    }

    public override Task DisposeAsync()
    {
        Abort();
        return base.DisposeAsync();
    }

    protected override async ValueTask<JsonRpcMessage?> ReadCoreAsync(CancellationToken cancellationToken)
    {
        if (!await FillAsync(PrefixBytes, cancellationToken).ConfigureAwait(false))
        {
            return _start == _end ? null : throw new EndOfStreamException("The connection ended within the length of a message.");
        }

        uint lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(_received.AsSpan(_start, PrefixBytes));
        int mostBytes = _hasAnswered ? limits.MaximumMessageBytes : Math.Min(limits.SmallMessageBytes, limits.MaximumMessageBytes);
        if (lengthBytes == 0 || lengthBytes > mostBytes)
        {
            throw new InvalidDataException($"The peer announces a message of {lengthBytes} bytes; {mostBytes} are allowed.");
        }

        if (!await FillAsync(PrefixBytes + (int)lengthBytes, cancellationToken).ConfigureAwait(false))
        {
            throw new EndOfStreamException("The connection ended within a message.");
        }

        bool isLarge = lengthBytes > limits.SmallMessageBytes && limits.LargeRequests is not null;
        if (isLarge)
        {
            await TakeLargeAsync(cancellationToken).ConfigureAwait(false);
        }

        JsonRpcMessage message = Formatter.Deserialize(new ReadOnlySequence<byte>(_received, _start + PrefixBytes, (int)lengthBytes));
        _start += PrefixBytes + (int)lengthBytes;
        if (message is JsonRpcRequest { IsResponseExpected: true } request)
        {
            Note(request.RequestId, isLarge);
            await _unanswered.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        else if (isLarge)
        {
            ReleaseLarge();
        }

        return message;
    }

    protected override async ValueTask WriteCoreAsync(JsonRpcMessage content, CancellationToken cancellationToken)
    {
        _sending.ResetWrittenCount();
        _sending.GetSpan(PrefixBytes);
        _sending.Advance(PrefixBytes);
        Formatter.Serialize(_sending, content);
        int lengthBytes = _sending.WrittenCount - PrefixBytes;
        ReadOnlyMemory<byte> message = _sending.WrittenMemory;
        if (_sending.Capacity > KeptBytes)
        {
            _sending = new(4096);
        }

        if (lengthBytes > limits.MaximumSentBytes)
        {
            throw new BlockException(
                BlockErrors.OutOfRange,
                $"The message has {lengthBytes} bytes, and the longest that the other side takes has {limits.MaximumSentBytes}. " +
                "Ask for less at a time.");
        }

        BinaryPrimitives.WriteInt32BigEndian(System.Runtime.InteropServices.MemoryMarshal.AsMemory(message).Span, lengthBytes);
        _hasAnswered |= content is JsonRpcResult;
        await SendAsync(message).ConfigureAwait(false);
        if (content is JsonRpcResult or JsonRpcError)
        {
            Forget(content is JsonRpcResult result ? result.RequestId : ((JsonRpcError)content).RequestId);
            _unanswered.Release();
        }
    }

    // A message is written at once.
    protected override ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
        {
            _unanswered.Dispose();
            _large.Dispose();
            _deadline.Dispose();
        }
    }

    private void Note(RequestId id, bool isLarge)
    {
        lock (_open)
        {
            if (!_open.TryAdd(id, isLarge))
            {
                throw new InvalidDataException($"Two requests of the peer that are not answered yet have the id {id}.");
            }
        }
    }

    private void Forget(RequestId id)
    {
        bool wasLarge;
        lock (_open)
        {
            wasLarge = _open.Remove(id, out bool isLarge) && isLarge;
        }

        if (wasLarge)
        {
            ReleaseLarge();
        }
    }

    private async ValueTask TakeLargeAsync(CancellationToken cancellationToken)
    {
        await _large.WaitAsync(cancellationToken).ConfigureAwait(false);
        await limits.LargeRequests!.WaitAsync(cancellationToken).ConfigureAwait(false);
        Interlocked.Exchange(ref _largeHeld, 1);
        if (_isAborted)
        {
            ReleaseLarge();
        }
    }

    private void ReleaseLarge()
    {
        if (Interlocked.Exchange(ref _largeHeld, 0) != 0)
        {
            limits.LargeRequests!.Release();
            if (!_isAborted)
            {
                _large.Release();
            }
        }
    }

    // The caller's cancellation must not leave half a message behind; only time and the end of the connection end a write.
    private async ValueTask SendAsync(ReadOnlyMemory<byte> message)
    {
        if (!_deadline.TryReset())
        {
            _deadline.Dispose();
            _deadline = new();
        }

        _deadline.CancelAfter(limits.WriteTimeout);
        try
        {
            await stream.WriteAsync(message, _deadline.Token).ConfigureAwait(false);
            _deadline.CancelAfter(Timeout.InfiniteTimeSpan);
        }
        catch (OperationCanceledException)
        {
            Abort();
            throw new IOException($"The peer took no message within {limits.WriteTimeout.TotalSeconds} s.");
        }
    }

    // Receives until so many bytes lie behind the start; false when the stream ends first.
    private async ValueTask<bool> FillAsync(int countBytes, CancellationToken cancellationToken)
    {
        if (_received.Length - _start < countBytes || (_start == _end && _received.Length > KeptBytes))
        {
            byte[] room = countBytes <= _received.Length && _received.Length <= KeptBytes
                ? _received
                : new byte[Math.Max(countBytes, 4096)];
            _received.AsSpan(_start, _end - _start).CopyTo(room);
            (_received, _start, _end) = (room, 0, _end - _start);
        }

        while (_end - _start < countBytes)
        {
            int readBytes = await stream.ReadAsync(_received.AsMemory(_end), cancellationToken).ConfigureAwait(false);
            if (readBytes == 0)
            {
                return false;
            }

            _end += readBytes;
        }

        return true;
    }
}
