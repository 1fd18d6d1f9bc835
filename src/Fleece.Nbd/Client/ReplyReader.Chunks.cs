// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Fleece.Nbd.Client.Extents;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <content>The payloads of chunks. Source: NBD protocol, "Structured reply types".</content>
internal sealed partial class ReplyReader
{
    // u32 error, u16 length of the text.
    private const int ErrorFixedBytes = sizeof(uint) + sizeof(ushort);

    private const int MaximumErrorBytes = ErrorFixedBytes + NbdLimits.MaximumStringBytes + sizeof(ulong);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadDataAsync(NbdRequest request, ulong payloadBytes)
    {
        if (payloadBytes <= ChunkHeader.DataOffsetBytes || payloadBytes - ChunkHeader.DataOffsetBytes > (ulong)request.LengthBytes)
        {
            throw Violation(
                $"a data chunk of {payloadBytes} bytes for a read of {request.LengthBytes}",
                "an offset and 1 byte to as many as were asked");
        }

        await _buffer.RequireAsync(ChunkHeader.DataOffsetBytes, request.IsLargeRead).ConfigureAwait(false);
        ulong offsetBytes = BinaryPrimitives.ReadUInt64BigEndian(_buffer.Take(ChunkHeader.DataOffsetBytes));
        Memory<byte> target = Cover(request, offsetBytes, payloadBytes - ChunkHeader.DataOffsetBytes);
        await _buffer.CopyToAsync(target).ConfigureAwait(false);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadHoleAsync(NbdRequest request)
    {
        await _buffer.RequireAsync(ChunkHeader.HolePayloadBytes, request.IsLargeRead).ConfigureAwait(false);
        ClearHole(request, _buffer.Take(ChunkHeader.HolePayloadBytes));
    }

    private void ClearHole(NbdRequest request, ReadOnlySpan<byte> payload)
    {
        uint lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(payload[sizeof(ulong)..]);
        Cover(request, BinaryPrimitives.ReadUInt64BigEndian(payload), lengthBytes).Span.Clear();
    }

    /// <summary>The part of the caller's buffer that a chunk is for.</summary>
    private Memory<byte> Cover(NbdRequest request, ulong offsetBytes, ulong lengthBytes)
    {
        ulong startBytes = offsetBytes - (ulong)request.OffsetBytes;
        if (offsetBytes < (ulong)request.OffsetBytes ||
            startBytes >= (ulong)request.LengthBytes ||
            lengthBytes == 0 ||
            lengthBytes > (ulong)request.LengthBytes - startBytes)
        {
            throw Violation(
                $"a chunk for {lengthBytes} bytes at {offsetBytes}",
                $"one within the {request.LengthBytes} bytes at {request.OffsetBytes} that were asked");
        }

        if (!request.Coverage.TryAdd((long)startBytes, (long)(startBytes + lengthBytes)))
        {
            throw Violation($"a chunk for {lengthBytes} bytes at {offsetBytes}", "each byte once, in not too many pieces");
        }

        return request.Buffer.Slice((int)startBytes, (int)lengthBytes);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadExtentsAsync(NbdRequest request, ulong payloadBytes)
    {
        int extentBytes = export.IsExtended ? 2 * sizeof(ulong) : 2 * sizeof(uint);
        int fixedBytes = export.IsExtended ? 2 * sizeof(uint) : sizeof(uint);
        ulong count = payloadBytes < (ulong)fixedBytes ? 0 : (payloadBytes - (ulong)fixedBytes) / (ulong)extentBytes;
        if (count is 0 or > NbdLimits.MaximumExtents || (payloadBytes - (ulong)fixedBytes) % (ulong)extentBytes != 0)
        {
            throw Violation(
                $"a status chunk of {payloadBytes} bytes", $"{fixedBytes} bytes and 1 to {NbdLimits.MaximumExtents} times {extentBytes}");
        }

        await _buffer.RequireAsync(fixedBytes, expectsLarge: false).ConfigureAwait(false);
        ExtentRuns runs = BeginExtents(request.Status!, _buffer.Take(fixedBytes), (int)count);
        for (int left = (int)count; left > 0;)
        {
            await _buffer.RequireAsync(extentBytes, expectsLarge: false).ConfigureAwait(false);
            int here = Math.Min(left, _buffer.Available.Length / extentBytes);
            AddExtents(runs, _buffer.Take(here * extentBytes), extentBytes);
            left -= here;
        }
    }

    private ExtentRuns BeginExtents(StatusReply status, ReadOnlySpan<byte> bytes, int count)
    {
        if (export.IsExtended && BinaryPrimitives.ReadUInt32BigEndian(bytes[sizeof(uint)..]) is uint announced && announced != count)
        {
            throw Violation($"a status chunk that announces {announced} extents and has room for {count}", "the same number");
        }

        uint context = BinaryPrimitives.ReadUInt32BigEndian(bytes);
        return status.Begin(export, context) ?? throw Violation($"extents of context {context}", "each context that was set, once");
    }

    private void AddExtents(ExtentRuns runs, ReadOnlySpan<byte> bytes, int extentBytes)
    {
        for (; !bytes.IsEmpty; bytes = bytes[extentBytes..])
        {
            (ulong lengthBytes, ulong flags) = export.IsExtended
                ? (BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[sizeof(ulong)..]))
                : (BinaryPrimitives.ReadUInt32BigEndian(bytes), BinaryPrimitives.ReadUInt32BigEndian(bytes[sizeof(uint)..]));
            if (!runs.TryAdd(lengthBytes, flags))
            {
                throw Violation($"an extent of {lengthBytes} bytes", "none that is empty, and none behind the range that was asked");
            }
        }
    }

    private async ValueTask ReadErrorAsync(NbdRequest request, ChunkHeader header)
    {
        if (header.Length is < ErrorFixedBytes or > MaximumErrorBytes)
        {
            throw Violation($"an error chunk of {header.Length} bytes", $"{ErrorFixedBytes} to {MaximumErrorBytes}");
        }

        byte[] payload = new byte[header.Length];
        await _buffer.CopyToAsync(payload).ConfigureAwait(false);
        ReadError(request, header.Type, payload);
    }

    private void ReadError(NbdRequest request, ChunkType type, ReadOnlySpan<byte> payload)
    {
        WireReader reader = new(payload);
        if (!reader.TryTakeUInt32(out uint error) ||
            !reader.TryTakeUInt16(out ushort textBytes) ||
            !reader.TryTakeString(textBytes, out string text) ||
            error == 0)
        {
            throw Violation($"a malformed error chunk", "a number that is not 0 and a text of at most 4096 bytes");
        }

        // Errors that later versions of the protocol add begin in the same way and may go on with anything.
        bool isWhole = type switch
        {
            ChunkType.Error => reader.IsAtEnd,
            ChunkType.ErrorOffset => reader.TryTakeUInt64(out ulong offsetBytes) && reader.IsAtEnd && IsWithin(request, offsetBytes),
            _ => true,
        };
        if (!isWhole)
        {
            throw Violation($"error chunk {(ushort)type} of {payload.Length} bytes", "its parts, with an offset within the request");
        }

        request.Fail((NbdError)error, text);
    }

    private static bool IsWithin(NbdRequest request, ulong offsetBytes) =>
        offsetBytes >= (ulong)request.OffsetBytes && offsetBytes - (ulong)request.OffsetBytes < (ulong)request.LengthBytes;
}
