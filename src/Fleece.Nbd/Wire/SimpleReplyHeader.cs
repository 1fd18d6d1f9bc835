// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Nbd.Wire;

/// <summary>A simple reply: u32 magic, u32 error, u64 cookie; a read's data follows.</summary>
/// <remarks>Source: NBD protocol, "Simple reply message".</remarks>
internal readonly record struct SimpleReplyHeader(NbdError Error, ulong Cookie)
{
    public const int SizeBytes = 16;

    /// <summary>Reads what follows the magic.</summary>
    public static SimpleReplyHeader ReadAfterMagic(ReadOnlySpan<byte> bytes) =>
        new((NbdError)BinaryPrimitives.ReadUInt32BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[4..]));

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, NbdMagic.SimpleReply);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], (uint)Error);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Cookie);
    }
}
