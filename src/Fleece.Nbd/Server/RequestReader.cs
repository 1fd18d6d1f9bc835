// SPDX-License-Identifier: MIT
using System.Net.Sockets;

namespace Fleece.Nbd.Server;

/// <summary>The receiving side of a connection: one large buffer in which requests are parsed where they arrived.</summary>
/// <remarks>
/// A receive takes whatever the socket holds, so that many small requests cost one system call. A request that goes on
/// elsewhere keeps the buffer its payload lies in; the reader then takes another one. What a single large request needed is
/// given back before the next is waited for, so that an idle connection holds nothing that others wait for.
/// Threading. The connection's own thread only.
/// </remarks>
internal sealed class RequestReader : IDisposable
{
    private readonly Stream _stream;
    private readonly MemoryBudget _budget;
    private readonly CancellationToken _connectionEnded;
    private readonly SharedBuffer _base;
    private SharedBuffer _buffer;
    private int _start;
    private int _end;
    private long _seenBytes;

    public RequestReader(Stream stream, MemoryBudget budget, CancellationToken connectionEnded)
    {
        _stream = stream;
        _budget = budget;
        _connectionEnded = connectionEnded;
        _base = _buffer = SharedBuffer.RentBase();
    }

    /// <summary>Called before each receive that may block.</summary>
    public Action BeforeReceive { get; init; } = static () => { };

    /// <summary>How long a client may send nothing of a large request it began, in milliseconds.</summary>
    public int LargeRequestTimeout { get; init; } = Timeout.Infinite;

    /// <summary>Bytes that are there and not yet taken.</summary>
    public int AvailableBytes => _end - _start;

    /// <summary>Makes sure that many bytes are there in one piece; false at the end of the stream.</summary>
    public bool TryFill(int bytes)
    {
        if (AvailableBytes >= bytes)
        {
            return true;
        }

        if (!TryMakeRoom(bytes))
        {
            return false;
        }

        return _buffer.IsLasting ? TryReceive(bytes) : TryReceiveLarge(bytes);
    }

    /// <summary>The next bytes without taking them; <see cref="TryFill"/> has brought them.</summary>
    public ReadOnlySpan<byte> Peek(int bytes) => _buffer.Bytes.AsSpan(_start, bytes);

    /// <summary>Takes bytes that <see cref="TryFill"/> has brought. They stay until the next fill, or as long as somebody
    /// holds <see cref="Share"/>.</summary>
    public ReadOnlyMemory<byte> Take(int bytes)
    {
        ReadOnlyMemory<byte> taken = _buffer.Bytes.AsMemory(_start, bytes);
        Advance(bytes);
        return taken;
    }

    /// <summary>True when what comes next has been looked at by <see cref="SeeNext"/>.</summary>
    public bool HasSeenNext => _seenBytes > 0;

    /// <summary>Takes from the socket what it holds without waiting, as far as there is room.</summary>
    public void ReceiveWaiting()
    {
        if (_stream is not NetworkStream socket || !_buffer.IsLasting || _end == _buffer.LengthBytes)
        {
            return;
        }

        try
        {
            if (socket.DataAvailable)
            {
                _end += socket.Read(_buffer.Bytes.AsSpan(_end, _buffer.LengthBytes - _end));
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The connection has ended, which the next receive finds too.
        }
    }

    /// <summary>The first bytes that are there and have not been looked at; empty when there are fewer.</summary>
    public ReadOnlySpan<byte> PeekUnseen(int bytes) =>
        AvailableBytes - _seenBytes >= bytes ? _buffer.Bytes.AsSpan(_start + (int)_seenBytes, bytes) : default;

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

    // Others may wait for the memory that a large request has, so its client may not keep it without sending.
    private bool TryReceiveLarge(int bytes)
    {
        _stream.ReadTimeout = LargeRequestTimeout;
        bool hasCome = TryReceive(bytes);
        if (hasCome)
        {
            _stream.ReadTimeout = Timeout.Infinite;
        }

        return hasCome;
    }

    private bool TryReceive(int bytes)
    {
        while (AvailableBytes < bytes)
        {
            // Nothing of the next requests goes into a buffer that is given back after this one.
            int roomBytes = _buffer.IsLasting || bytes <= SharedBuffer.BaseBytes ? _buffer.LengthBytes - _end : bytes - AvailableBytes;
            int receivedBytes = Receive(_buffer.Bytes.AsSpan(_end, roomBytes));
            if (receivedBytes == 0)
            {
                return false;
            }

            _end += receivedBytes;
        }

        return true;
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

    // Bytes are moved only when what is wanted does not fit behind them. A buffer that a request still uses is left to it.
    private bool TryMakeRoom(int bytes)
    {
        if (AvailableBytes == 0)
        {
            Rewind();
        }

        if (_start + bytes <= _buffer.LengthBytes)
        {
            return true;
        }

        bool isBest = _buffer.LengthBytes >= SharedBuffer.ComfortBytes && !_buffer.IsShared;
        SharedBuffer? target = isBest && bytes <= _buffer.LengthBytes ? _buffer : ChooseBuffer(bytes);
        if (target is null)
        {
            return false;
        }

        MoveTo(target);
        return true;
    }

    // What is given back is given back first, because choosing another buffer may wait.
    private void Rewind()
    {
        if (!_buffer.IsLasting && (_buffer.LengthBytes > SharedBuffer.BaseBytes || !_base.IsShared))
        {
            Leave();
            _buffer = _base;
            _start = _end = _base.IsShared ? _base.LengthBytes : 0;
        }
        else if (!_buffer.IsShared)
        {
            _start = _end = 0;
        }
    }

    private SharedBuffer? ChooseBuffer(int bytes)
    {
        if (bytes <= SharedBuffer.ComfortBytes && SharedBuffer.TryRentComfort(_budget) is { } comfort)
        {
            return comfort;
        }

        if (bytes <= _buffer.LengthBytes && !_buffer.IsShared)
        {
            return _buffer;
        }

        return bytes <= _base.LengthBytes && !_base.IsShared
            ? _base
            : SharedBuffer.Rent(Math.Max(bytes, SharedBuffer.BaseBytes), _budget, _connectionEnded);
    }

    private void MoveTo(SharedBuffer target)
    {
        _buffer.Bytes.AsSpan(_start, AvailableBytes).CopyTo(target.Bytes);
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
