// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server;

/// <summary>The receiving side of a connection: one large buffer in which requests are parsed where they arrived.</summary>
/// <remarks>
/// A receive takes whatever the socket holds, so that many small requests cost one system call. A request that goes on
/// elsewhere keeps the buffer its payload lies in; the reader then takes another one.
/// Threading. The connection's own thread only.
/// </remarks>
internal sealed class RequestReader(Stream stream, MemoryBudget budget, CancellationToken connectionEnded) : IDisposable
{
    private SharedBuffer _buffer = SharedBuffer.RentBase();
    private int _start;
    private int _end;

    /// <summary>Called before each receive that may block.</summary>
    public Action BeforeReceive { get; init; } = static () => { };

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

        while (AvailableBytes < bytes)
        {
            int receivedBytes = Receive(_buffer.Bytes.AsSpan(_end));
            if (receivedBytes == 0)
            {
                return false;
            }

            _end += receivedBytes;
        }

        return true;
    }

    /// <summary>The next bytes without taking them; <see cref="TryFill"/> has brought them.</summary>
    public ReadOnlySpan<byte> Peek(int bytes) => _buffer.Bytes.AsSpan(_start, bytes);

    /// <summary>Takes bytes that <see cref="TryFill"/> has brought. They stay until the next fill, or as long as somebody
    /// holds <see cref="Share"/>.</summary>
    public ReadOnlyMemory<byte> Take(int bytes)
    {
        ReadOnlyMemory<byte> taken = _buffer.Bytes.AsMemory(_start, bytes);
        _start += bytes;
        return taken;
    }

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
            _start += taken;
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
    public void Dispose() => _buffer.Release();

    private int Receive(Span<byte> room)
    {
        BeforeReceive();
        try
        {
            return stream.Read(room);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return 0;
        }
    }

    // Bytes are moved only when what is wanted does not fit behind them. A buffer that a request still uses is left to it,
    // and one that a single large request needed is given back.
    private bool TryMakeRoom(int bytes)
    {
        if (AvailableBytes == 0 && !_buffer.IsShared)
        {
            _start = _end = 0;
        }

        bool isOversized = _buffer.LengthBytes > SharedBuffer.ComfortBytes && bytes <= SharedBuffer.ComfortBytes &&
            AvailableBytes <= SharedBuffer.ComfortBytes;
        if (!isOversized && _start + bytes <= _buffer.LengthBytes && _end < _buffer.LengthBytes)
        {
            return true;
        }

        bool isBest = _buffer.LengthBytes >= SharedBuffer.ComfortBytes && !isOversized && !_buffer.IsShared;
        SharedBuffer? target = isBest && bytes <= _buffer.LengthBytes ? _buffer : ChooseBuffer(bytes);
        if (target is null)
        {
            return false;
        }

        MoveTo(target);
        return true;
    }

    private SharedBuffer? ChooseBuffer(int bytes)
    {
        if (bytes <= SharedBuffer.ComfortBytes && SharedBuffer.TryRentComfort(budget) is { } comfort)
        {
            return comfort;
        }

        return bytes <= _buffer.LengthBytes && !_buffer.IsShared
            ? _buffer
            : SharedBuffer.Rent(Math.Max(bytes, Math.Max(SharedBuffer.BaseBytes, AvailableBytes)), budget, connectionEnded);
    }

    private void MoveTo(SharedBuffer target)
    {
        _buffer.Bytes.AsSpan(_start, AvailableBytes).CopyTo(target.Bytes);
        _end = AvailableBytes;
        _start = 0;
        if (target != _buffer)
        {
            _buffer.Release();
            _buffer = target;
        }
    }
}
