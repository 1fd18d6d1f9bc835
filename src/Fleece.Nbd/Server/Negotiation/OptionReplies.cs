// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Buffers.Binary;
using System.Text.Unicode;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Negotiation;

/// <summary>The answers to one option. They are sent together, because each send may wake the client.</summary>
/// <remarks>Threading. One thread.</remarks>
internal sealed class OptionReplies
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    /// <summary>Adds a reply with a text for people.</summary>
    /// <remarks>The text may repeat a name of the client, which ends up on a terminal, and is a string of the protocol itself.</remarks>
    public void Add(NbdOption option, OptionReply type, string text)
    {
        byte[] bytes = new byte[NbdLimits.MaximumStringBytes];
        _ = Utf8.FromUtf16(PrintableText.Of(text), bytes, out _, out int writtenBytes);
        Add(option, type, bytes.AsSpan(0, writtenBytes));
    }

    /// <summary>Adds a reply with data, or with none.</summary>
    public void Add(NbdOption option, OptionReply type, params ReadOnlySpan<byte> data) =>
        data.CopyTo(Append(option, type, data.Length));

    /// <summary>Adds a reply of a number and bytes: an export with the length of its name, or a context with its id.</summary>
    public void AddNumbered(NbdOption option, OptionReply type, uint number, ReadOnlySpan<byte> bytes)
    {
        Span<byte> data = Append(option, type, sizeof(uint) + bytes.Length);
        BinaryPrimitives.WriteUInt32BigEndian(data, number);
        bytes.CopyTo(data[sizeof(uint)..]);
    }

    /// <summary>Adds a piece of information on an export.</summary>
    public void AddInfo(NbdOption option, InfoType type, ReadOnlySpan<byte> information)
    {
        Span<byte> data = Append(option, OptionReply.Info, sizeof(ushort) + information.Length);
        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)type);
        information.CopyTo(data[sizeof(ushort)..]);
    }

    /// <summary>Sends the replies that were added.</summary>
    public void SendTo(Stream stream)
    {
        if (_bytes.WrittenCount != 0)
        {
            stream.Write(_bytes.WrittenSpan);
            _bytes.ResetWrittenCount();
        }
    }

    private Span<byte> Append(NbdOption option, OptionReply type, int dataBytes)
    {
        int replyBytes = OptionReplyHeader.SizeBytes + dataBytes;
        Span<byte> reply = _bytes.GetSpan(replyBytes)[..replyBytes];
        new OptionReplyHeader(option, type, (uint)dataBytes).Write(reply);
        _bytes.Advance(replyBytes);
        return reply[OptionReplyHeader.SizeBytes..];
    }
}
