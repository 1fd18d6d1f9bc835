// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Fleece.Nbd.Client;

/// <summary>Bytes that have come from the server and not been looked at.</summary>
/// <remarks>
/// Headers and short payloads arrive many at once; a long payload goes straight to where the caller wants it. So that a header's
/// receive does not swallow the payload behind it, it takes little while a long read is on its way.
/// </remarks>
internal sealed class ReceiveBuffer(Stream stream)
{
    /// <summary>Payloads from here on count as long.</summary>
    public const int LargeBytes = 16 * 1024;

    private const int CapacityBytes = 64 * 1024;

    // More than the longest header with the fixed part of its payload.
    private const int CautiousBytes = 512;

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(CapacityBytes);
    private int _start;
    private int _end;

    /// <summary>What is here.</summary>
    public ReadOnlySpan<byte> Available => _bytes.AsSpan(_start, _end - _start);

    /// <summary>Waits until that many bytes are here, at most <see cref="CautiousBytes"/>.</summary>
    /// <param name="countBytes">How many.</param>
    /// <param name="expectsLarge">A long payload may follow.</param>
    public ValueTask RequireAsync(int countBytes, bool expectsLarge) =>
        _end - _start >= countBytes ? default : FillAsync(countBytes, expectsLarge ? CautiousBytes : CapacityBytes);

    /// <summary>Takes bytes that are here.</summary>
    public ReadOnlySpan<byte> Take(int countBytes)
    {
        ReadOnlySpan<byte> taken = _bytes.AsSpan(_start, countBytes);
        _start += countBytes;
        return taken;
    }

    /// <summary>Moves that many bytes to their destination, those that are here and then those to come.</summary>
    public ValueTask CopyToAsync(Memory<byte> destination)
    {
        int here = Math.Min(destination.Length, _end - _start);
        Take(here).CopyTo(destination.Span);
        return here == destination.Length ? default : ReceiveAsync(destination[here..]);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask FillAsync(int countBytes, int limitBytes)
    {
        if (_start == _end)
        {
            _start = 0;
            _end = 0;
        }
        else if (_start + CautiousBytes > CapacityBytes)
        {
            Available.CopyTo(_bytes);
            _end -= _start;
            _start = 0;
        }

        while (_end - _start < countBytes)
        {
            Memory<byte> free = _bytes.AsMemory(_end, Math.Min(limitBytes, CapacityBytes - _end));
            _end += await ReceiveSomeAsync(free).ConfigureAwait(false);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReceiveAsync(Memory<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            destination = destination[await ReceiveSomeAsync(destination).ConfigureAwait(false)..];
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> ReceiveSomeAsync(Memory<byte> destination)
    {
        int received = await stream.ReadAsync(destination).ConfigureAwait(false);
        return received != 0 ? received : throw new EndOfStreamException("the server ended the connection.");
    }
}
