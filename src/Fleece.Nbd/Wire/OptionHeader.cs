// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Nbd.Wire;

/// <summary>An option of the client: u64 magic, u32 option, u32 length, data. Source: NBD protocol, "Fixed newstyle negotiation".</summary>
internal readonly record struct OptionHeader(NbdOption Option, uint Length)
{
    public const int SizeBytes = 16;

    /// <summary>Reads a header; false when its magic is wrong.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out OptionHeader header)
    {
        header = new OptionHeader(
            (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]), BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]));
        return BinaryPrimitives.ReadUInt64BigEndian(bytes) == NbdMagic.Option;
    }

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, NbdMagic.Option);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[8..], (uint)Option);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[12..], Length);
    }
}

/// <summary>A reply to an option: u64 magic, u32 option, u32 type, u32 length, data. Source: as <see cref="OptionHeader"/>.</summary>
internal readonly record struct OptionReplyHeader(NbdOption Option, OptionReply Type, uint Length)
{
    public const int SizeBytes = 20;

    /// <summary>Reads a header; false when its magic is wrong.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out OptionReplyHeader header)
    {
        header = new OptionReplyHeader(
            (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
            (OptionReply)BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]),
            BinaryPrimitives.ReadUInt32BigEndian(bytes[16..]));
        return BinaryPrimitives.ReadUInt64BigEndian(bytes) == NbdMagic.OptionReply;
    }

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, NbdMagic.OptionReply);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[8..], (uint)Option);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[12..], (uint)Type);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[16..], Length);
    }
}

/// <summary>What the numbers of replies to options say by themselves.</summary>
internal static class OptionReplies
{
    /// <summary>True for a refusal. Source: NBD protocol, "Option reply types": the topmost bit.</summary>
    public static bool IsError(this OptionReply type) => ((uint)type & 0x80000000) != 0;
}
