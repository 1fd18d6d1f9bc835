// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Nbd.Wire;

/// <summary>The header of a request, in either of its two forms. All numbers are big-endian.</summary>
/// <remarks>
/// <code>
/// offset  compact        extended
/// 0       u32 magic      u32 magic
/// 4       u16 flags      u16 flags
/// 6       u16 command    u16 command
/// 8       u64 cookie     u64 cookie
/// 16      u64 offset     u64 offset
/// 24      u32 length     u64 length
/// </code>
/// Source: NBD protocol, "Request message", and its extended-header branch.
/// </remarks>
internal readonly record struct RequestHeader(
    CommandFlags Flags, NbdCommand Command, ulong Cookie, ulong Offset, ulong Length)
{
    public const int CompactBytes = 28;

    public const int ExtendedBytes = 32;

    public static int SizeBytes(bool isExtended) => isExtended ? ExtendedBytes : CompactBytes;

    /// <summary>Bytes that follow the header on the wire.</summary>
    /// <remarks>
    /// With extended headers the flag decides, so that even an unknown command can be skipped; but a write carries its data
    /// whether or not the client remembered the flag.
    /// </remarks>
    public ulong PayloadBytes(bool isExtended) =>
        Command == NbdCommand.Write || (isExtended && (Flags & CommandFlags.PayloadLength) != 0) ? Length : 0;

    /// <summary>Reads a header from the front of <paramref name="bytes"/>; false when its magic is wrong.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, bool isExtended, out RequestHeader header)
    {
        header = new RequestHeader(
            (CommandFlags)BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]),
            (NbdCommand)BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
            isExtended ? BinaryPrimitives.ReadUInt64BigEndian(bytes[24..]) : BinaryPrimitives.ReadUInt32BigEndian(bytes[24..]));
        return BinaryPrimitives.ReadUInt32BigEndian(bytes) == (isExtended ? NbdMagic.ExtendedRequest : NbdMagic.Request);
    }

    /// <summary>Writes the header to the front of <paramref name="bytes"/>.</summary>
    public void Write(Span<byte> bytes, bool isExtended)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, isExtended ? NbdMagic.ExtendedRequest : NbdMagic.Request);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[6..], (ushort)Command);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Cookie);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[16..], Offset);
        if (isExtended)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes[24..], Length);
        }
        else
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes[24..], checked((uint)Length));
        }
    }
}
