// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <summary>Writes replies in the form that was negotiated: simple, structured, or structured with extended headers.</summary>
internal sealed class ReplyFormat(bool isStructured, bool isExtended)
{
    /// <summary>Longest text of an error; the rest is cut. Source: NBD protocol, "NBD_REPLY_TYPE_ERROR".</summary>
    private const int MaximumMessageBytes = 1024;

    /// <summary>Most bytes of any reply that carries neither data nor extents.</summary>
    public const int MaximumShortReplyBytes = ChunkHeader.ExtendedBytes + 6 + MaximumMessageBytes;

    /// <summary>Most bytes before the data of a read, or in place of it.</summary>
    public const int MaximumReadHeaderBytes = ChunkHeader.ExtendedBytes + ChunkHeader.HolePayloadBytes;

    public bool IsStructured => isStructured;

    public bool IsExtended => isExtended;

    /// <summary>Bytes before the data of a read.</summary>
    public int ReadPrefixBytes => isStructured
        ? ChunkHeader.SizeBytes(isExtended) + ChunkHeader.DataOffsetBytes
        : SimpleReplyHeader.SizeBytes;

    /// <summary>Bytes before the extents of a chunk: header, context id and, with extended headers, their count.</summary>
    public int StatusPrefixBytes => ChunkHeader.SizeBytes(isExtended) + (isExtended ? 8 : 4);

    public int ExtentBytes => isExtended ? 16 : 8;

    /// <summary>What precedes all data of a read.</summary>
    public void WriteReadPrefix(Span<byte> bytes, in RequestHeader request) =>
        WriteReadPrefix(bytes, request, (long)request.Offset, (long)request.Length, isLast: true);

    /// <summary>What precedes a part of a read's data, in a chunk of its own where replies are structured.</summary>
    public void WriteReadPrefix(Span<byte> bytes, in RequestHeader request, long offsetBytes, long lengthBytes, bool isLast)
    {
        if (!isStructured)
        {
            new SimpleReplyHeader(NbdError.None, request.Cookie).Write(bytes);
            return;
        }

        Chunk(
            isLast ? ChunkFlags.Done : ChunkFlags.None,
            ChunkType.OffsetData,
            request,
            (ulong)(ChunkHeader.DataOffsetBytes + lengthBytes)).Write(bytes, isExtended);
        BinaryPrimitives.WriteInt64BigEndian(bytes[ChunkHeader.SizeBytes(isExtended)..], offsetBytes);
    }

    /// <summary>A read of zeros without the zeros; only with structured replies.</summary>
    public int WriteHole(Span<byte> bytes, in RequestHeader request) =>
        WriteHole(bytes, request, (long)request.Offset, (int)request.Length, isLast: true);

    /// <summary>A part of a read that is zeros, without the zeros; only with structured replies.</summary>
    public int WriteHole(Span<byte> bytes, in RequestHeader request, long offsetBytes, int lengthBytes, bool isLast)
    {
        Chunk(isLast ? ChunkFlags.Done : ChunkFlags.None, ChunkType.OffsetHole, request, ChunkHeader.HolePayloadBytes)
            .Write(bytes, isExtended);
        Span<byte> payload = bytes[ChunkHeader.SizeBytes(isExtended)..];
        BinaryPrimitives.WriteInt64BigEndian(payload, offsetBytes);
        BinaryPrimitives.WriteInt32BigEndian(payload[8..], lengthBytes);
        return ChunkHeader.SizeBytes(isExtended) + ChunkHeader.HolePayloadBytes;
    }

    /// <summary>The reply of a request without data: its success or its failure.</summary>
    public int WriteShort(Span<byte> bytes, in RequestHeader request, Refusal refusal) => refusal.Error == NbdError.None
        ? WriteSuccess(bytes, request)
        : WriteError(bytes, request, refusal.Error, refusal.Message);

    /// <summary>The success of a request without data. A read never gets a simple reply where structured ones were negotiated.</summary>
    public int WriteSuccess(Span<byte> bytes, in RequestHeader request)
    {
        if (isExtended || (isStructured && request.Command == NbdCommand.Read))
        {
            Chunk(ChunkFlags.Done, ChunkType.None, request, 0).Write(bytes, isExtended);
            return ChunkHeader.SizeBytes(isExtended);
        }

        new SimpleReplyHeader(NbdError.None, request.Cookie).Write(bytes);
        return SimpleReplyHeader.SizeBytes;
    }

    /// <summary>The failure of a request, with its reason where the form has room for one.</summary>
    public int WriteError(Span<byte> bytes, in RequestHeader request, NbdError error, string message)
    {
        if (!isStructured)
        {
            new SimpleReplyHeader(error, request.Cookie).Write(bytes);
            return SimpleReplyHeader.SizeBytes;
        }

        Span<byte> payload = bytes[ChunkHeader.SizeBytes(isExtended)..];
        _ = Encoding.UTF8.TryGetBytes(message, payload[6..(6 + MaximumMessageBytes)], out int messageBytes);
        if (messageBytes == 0 && message.Length != 0)
        {
            messageBytes = Encoding.UTF8.GetBytes(message.AsSpan(0, MaximumMessageBytes / 3), payload[6..]);
        }

        BinaryPrimitives.WriteUInt32BigEndian(payload, (uint)error);
        BinaryPrimitives.WriteUInt16BigEndian(payload[4..], (ushort)messageBytes);
        Chunk(ChunkFlags.Done, ChunkType.Error, request, (ulong)(6 + messageBytes)).Write(bytes, isExtended);
        return ChunkHeader.SizeBytes(isExtended) + 6 + messageBytes;
    }

    /// <summary>What precedes the extents of one context; <see cref="WriteExtent"/> writes those.</summary>
    public void WriteStatusPrefix(Span<byte> bytes, in RequestHeader request, uint contextId, int extentCount, bool isLast)
    {
        ulong lengthBytes = (ulong)(StatusPrefixBytes - ChunkHeader.SizeBytes(isExtended) + extentCount * ExtentBytes);
        Chunk(
            isLast ? ChunkFlags.Done : ChunkFlags.None,
            isExtended ? ChunkType.BlockStatusExtended : ChunkType.BlockStatus,
            request,
            lengthBytes).Write(bytes, isExtended);
        Span<byte> payload = bytes[ChunkHeader.SizeBytes(isExtended)..];
        BinaryPrimitives.WriteUInt32BigEndian(payload, contextId);
        if (isExtended)
        {
            BinaryPrimitives.WriteUInt32BigEndian(payload[4..], (uint)extentCount);
        }
    }

    public void WriteExtent(Span<byte> bytes, StatusExtent extent)
    {
        if (isExtended)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes, (ulong)extent.LengthBytes);
            BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], extent.Flags);
            return;
        }

        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)extent.LengthBytes);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], extent.Flags);
    }

    private static ChunkHeader Chunk(ChunkFlags flags, ChunkType type, in RequestHeader request, ulong lengthBytes) =>
        new(flags, type, request.Cookie, request.Offset, lengthBytes);
}
