// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>The receiving side of a connection: one large buffer in which requests are parsed where they arrived.</summary>
/// <remarks>
/// A receive takes whatever the socket holds, so that many small requests cost one system call. A request that goes on
/// elsewhere keeps the buffer its payload lies in; the reader then takes another one. A payload that no buffer takes whole comes in
/// pieces (<see cref="MakeRoom"/>), so a client that stops in the middle of one holds no more than an idle one.
/// Threading. The connection's own thread only.
/// </remarks>
internal sealed class RequestReader : IDisposable
{
    private readonly Stream _stream;
    private readonly MemoryBudget _budget;
    private readonly InFlightLimit _inFlight;
    private readonly SharedBuffer _base;
    private SharedBuffer _buffer;
    private int _start;
    private int _end;
    private long _seenBytes;

    public RequestReader(Stream stream, MemoryBudget budget, InFlightLimit inFlight)
    {
        _stream = stream;
        _budget = budget;
        _inFlight = inFlight;
        _base = _buffer = SharedBuffer.RentBase();
    }

    /// <summary>Called before each receive that may block.</summary>
    public Action BeforeReceive { get; init; } = static () => { };

    /// <summary>Bytes that are there and not yet taken.</summary>
    public int AvailableBytes => _end - _start;

    /// <summary>True when the bytes that have come and are not taken may hold another request.</summary>
    public bool HasAnother => AvailableBytes >= RequestHeader.CompactBytes;

    /// <summary>Makes sure that many bytes are there in one piece; false at the end of the stream.</summary>
    /// <param name="bytes">At most <see cref="SharedBuffer.BaseBytes"/>, or what <see cref="MakeRoom"/> has said.</param>
    public bool TryFill(int bytes)
    {
        if (AvailableBytes >= bytes)
        {
            return true;
        }

        MakeRoom(bytes);
        while (AvailableBytes < bytes)
        {
            int receivedBytes = Receive(_buffer.Bytes.Span[_end..]);
            if (receivedBytes == 0)
            {
                return false;
            }

            _end += receivedBytes;
        }

        return true;
    }

    /// <summary>Makes room for what comes next, as far as there is memory for it; nothing is received.</summary>
    /// <param name="wantedBytes">Length of what comes.</param>
    /// <returns>How much of it there can be in one piece: all, or at least <see cref="SharedBuffer.BaseBytes"/>.</returns>
    public int MakeRoom(int wantedBytes)
    {
        if (AvailableBytes == 0)
        {
            Rewind();
        }

        // Bytes are moved only when what is wanted does not fit behind them. A buffer that a request still uses is left to it.
        int bytes = Math.Min(wantedBytes, SharedBuffer.ComfortBytes);
        if (_start + bytes > _buffer.LengthBytes)
        {
            ChooseBuffer();
        }

        return Math.Min(bytes, _buffer.LengthBytes - _start);
    }

    /// <summary>The next bytes without taking them; <see cref="TryFill"/> has brought them.</summary>
    public ReadOnlySpan<byte> Peek(int bytes) => _buffer.Bytes.Span.Slice(_start, bytes);

    /// <summary>Takes bytes that <see cref="TryFill"/> has brought. They stay until the next fill, or as long as somebody
    /// holds <see cref="Share"/>.</summary>
    public ReadOnlyMemory<byte> Take(int bytes)
    {
        ReadOnlyMemory<byte> taken = _buffer.Bytes.Slice(_start, bytes);
        Advance(bytes);
        return taken;
    }

    /// <summary>True when what comes next has been looked at by <see cref="SeeNext"/>.</summary>
    public bool HasSeenNext => _seenBytes > 0;

    /// <summary>Takes from the socket what it holds without waiting, as far as there is room.</summary>
    public void ReceiveWaiting()
    {
        if (_stream is not NetworkStream socket || _end == _buffer.LengthBytes)
        {
            return;
        }

        try
        {
            if (socket.DataAvailable)
            {
                _end += socket.Read(_buffer.Bytes.Span[_end..]);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The connection has ended, which the next receive finds too.
        }
    }

    /// <summary>The first bytes that are there and have not been looked at; empty when there are fewer.</summary>
    public ReadOnlySpan<byte> PeekUnseen(int bytes) =>
        AvailableBytes - _seenBytes >= bytes ? _buffer.Bytes.Span.Slice(_start + (int)_seenBytes, bytes) : default;

    /// <summary>Counts a request as looked at; its payload need not have come.</summary>
    public void SeeNext(int headerBytes, long payloadBytes) => _seenBytes += headerBytes + payloadBytes;

    /// <summary>The buffer that holds what was taken last; the caller releases it.</summary>
    public SharedBuffer Share()
    {
        _buffer.AddUser();
        return _buffer;
    }

    /// <summary>Drops bytes that nobody wants; false at the end of the stream.</summary>
    public bool TrySkip(long bytes)
    {
        while (true)
        {
            int taken = (int)Math.Min(bytes, AvailableBytes);
            Advance(taken);
            bytes -= taken;
            if (bytes == 0)
            {
                return true;
            }

            if (!TryFill(1))
            {
                return false;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        _base.Release();
    }

    private void Advance(int bytes)
    {
        _start += bytes;
        _seenBytes = Math.Max(0, _seenBytes - bytes);
    }

    private int Receive(Span<byte> room)
    {
        BeforeReceive();
        try
        {
            return _stream.Read(room);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return 0;
        }
    }

    // A buffer that was taken for one request is given back as soon as the first buffer is free again.
    private void Rewind()
    {
        if (!_buffer.IsLasting && !_base.IsShared)
        {
            MoveTo(_base);
        }
        else if (!_buffer.IsShared)
        {
            _start = _end = 0;
        }
    }

    private void ChooseBuffer()
    {
        bool isShared = _buffer.IsShared;
        if ((isShared || _buffer.LengthBytes < SharedBuffer.ComfortBytes) && SharedBuffer.TryRentComfort(_budget) is { } comfort)
        {
            MoveTo(comfort);
        }
        else if (!isShared)
        {
            MoveTo(_buffer);
        }
        else if (AvailableBytes < SharedBuffer.BaseBytes)
        {
            MoveTo(!_base.IsShared ? _base : SharedBuffer.TryRent(SharedBuffer.BaseBytes, _budget) ?? Unshared());
        }
    }

    // Without memory for another buffer, the next request waits for those of its own connection that use this one.
    private SharedBuffer Unshared()
    {
        BeforeReceive();
        _inFlight.Drain();
        return _buffer;
    }

    private void MoveTo(SharedBuffer target)
    {
        _buffer.Bytes.Span[_start.._end].CopyTo(target.Bytes.Span);
        _end = AvailableBytes;
        _start = 0;
        if (target != _buffer)
        {
            Leave();
            _buffer = target;
        }
    }

    private void Leave()
    {
        if (_buffer != _base)
        {
            _buffer.Release();
        }
    }
}
