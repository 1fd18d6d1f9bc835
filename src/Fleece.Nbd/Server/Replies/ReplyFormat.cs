// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Replies;

/// <summary>Writes replies in the form that was negotiated: simple, structured, or structured with extended headers.</summary>
internal sealed class ReplyFormat(bool isStructured, bool isExtended, bool tellsKinds = false)
{
    /// <summary>Longest text of an error; the rest is cut. Source: NBD protocol, "NBD_REPLY_TYPE_ERROR".</summary>
    private const int MaximumMessageBytes = 1024;

    /// <summary>Most bytes of any reply that carries neither data nor extents.</summary>
    public const int MaximumShortReplyBytes = ChunkHeader.ExtendedBytes + 6 + MaximumMessageBytes;

    /// <summary>Most bytes before the data of a read, or in place of it.</summary>
    public const int MaximumReadHeaderBytes = ChunkHeader.ExtendedBytes + ChunkHeader.HolePayloadBytes;

    public bool IsStructured => isStructured;

    /// <summary>Bytes before the data of a read.</summary>
    public int ReadPrefixBytes => isStructured
        ? ChunkHeader.SizeBytes(isExtended) + ChunkHeader.DataOffsetBytes
        : SimpleReplyHeader.SizeBytes;

    // Header, context id and, with extended headers, the count of extents.
    private int StatusPrefixBytes => ChunkHeader.SizeBytes(isExtended) + (isExtended ? 8 : 4);

    private int ExtentBytes => isExtended ? 16 : 8;

    /// <summary>The reply of a read whose data lies behind <see cref="ReadPrefixBytes"/>. Zeros are cheap to see, because the first other
    /// byte ends the search, and dear to send.</summary>
    public int WriteRead(Span<byte> bytes, in RequestHeader request)
    {
        Span<byte> data = bytes.Slice(ReadPrefixBytes, (int)request.Length);
        if (isStructured && data.IndexOfAnyExcept((byte)0) < 0)
        {
            return WriteHole(bytes, request, (long)request.Offset, data.Length, isLast: true);
        }

        WriteReadPrefix(bytes, request, (long)request.Offset, data.Length, isLast: true);
        return ReadPrefixBytes + data.Length;
    }

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
        : WriteError(
            bytes,
            request,
            refusal.Error,
            tellsKinds && refusal.Kind is { } kind ? KindTexts.Join(kind, refusal.Message) : refusal.Message);

    // A read never gets a simple reply where structured ones were negotiated.
    private int WriteSuccess(Span<byte> bytes, in RequestHeader request)
    {
        if (isExtended || (isStructured && request.Command == NbdCommand.Read))
        {
            Chunk(ChunkFlags.Done, ChunkType.None, request, 0).Write(bytes, isExtended);
            return ChunkHeader.SizeBytes(isExtended);
        }

        new SimpleReplyHeader(NbdError.None, request.Cookie).Write(bytes);
        return SimpleReplyHeader.SizeBytes;
    }

    // With its reason where the form has room for one.
    private int WriteError(Span<byte> bytes, in RequestHeader request, NbdError error, string message)
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

    /// <summary>Bytes that one context of a status takes.</summary>
    public int StatusBytes(StatusAnswer answer, int index) => StatusPrefixBytes + answer.Contexts[index].Extents.Count * ExtentBytes;

    /// <summary>One context of a status.</summary>
    public int WriteStatus(Span<byte> bytes, in RequestHeader request, StatusAnswer answer, int index)
    {
        (uint contextId, List<StatusExtent> extents) = answer.Contexts[index];
        WriteStatusPrefix(bytes, request, contextId, extents.Count, index == answer.Contexts.Count - 1);
        int atBytes = StatusPrefixBytes;
        foreach (StatusExtent extent in extents)
        {
            WriteExtent(bytes[atBytes..], extent);
            atBytes += ExtentBytes;
        }

        return atBytes;
    }

    private void WriteStatusPrefix(Span<byte> bytes, in RequestHeader request, uint contextId, int extentCount, bool isLast)
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

    private void WriteExtent(Span<byte> bytes, StatusExtent extent)
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
