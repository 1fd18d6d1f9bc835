// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Nbd.Wire;

/// <summary>The header of a chunk of a structured reply, in either of its two forms.</summary>
/// <remarks>
/// <code>
/// offset  compact        extended
/// 0       u32 magic      u32 magic
/// 4       u16 flags      u16 flags
/// 6       u16 type       u16 type
/// 8       u64 cookie     u64 cookie
/// 16      u32 length     u64 offset of the request
/// 24                     u64 length
/// </code>
/// The length is that of the payload that follows. Source: NBD protocol, "Structured reply chunk message", and its
/// extended-header branch.
/// </remarks>
internal readonly record struct ChunkHeader(ChunkFlags Flags, ChunkType Type, ulong Cookie, ulong Offset, ulong Length)
{
    public const int CompactBytes = 20;

    public const int ExtendedBytes = 32;

    /// <summary>Offset of the data that an offset-data chunk begins with.</summary>
    public const int DataOffsetBytes = 8;

    /// <summary>Payload of an offset-hole chunk: u64 offset, u32 length.</summary>
    public const int HolePayloadBytes = 12;

    public bool IsDone => (Flags & ChunkFlags.Done) != 0;

    public bool IsError => ((ushort)Type & 0x8000) != 0;

    public static int SizeBytes(bool isExtended) => isExtended ? ExtendedBytes : CompactBytes;

    /// <summary>Reads what follows the magic.</summary>
    public static ChunkHeader ReadAfterMagic(ReadOnlySpan<byte> bytes, bool isExtended) =>
        new(
            (ChunkFlags)BinaryPrimitives.ReadUInt16BigEndian(bytes),
            (ChunkType)BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[4..]),
            isExtended ? BinaryPrimitives.ReadUInt64BigEndian(bytes[12..]) : 0,
            isExtended ? BinaryPrimitives.ReadUInt64BigEndian(bytes[20..]) : BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]));

    public void Write(Span<byte> bytes, bool isExtended)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, isExtended ? NbdMagic.ExtendedReply : NbdMagic.StructuredReply);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[6..], (ushort)Type);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Cookie);
        if (isExtended)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes[16..], Offset);
            BinaryPrimitives.WriteUInt64BigEndian(bytes[24..], Length);
        }
        else
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes[16..], checked((uint)Length));
        }
    }
}
