// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>The forms that requests and replies have on the wire.</summary>
public enum HeaderMode
{
    /// <summary>Compact requests, simple replies.</summary>
    Simple,

    /// <summary>Compact requests, structured replies.</summary>
    Structured,

    /// <summary>Extended requests and replies.</summary>
    Extended,
}

/// <summary>Messages of a client, laid out by hand: what the engine writes and reads is what is under test.</summary>
internal sealed class Packet
{
    private readonly List<byte> _bytes = [];

    public static byte[] Option(uint option, params ReadOnlySpan<byte> data) => Option(option, (uint)data.Length, data);

    /// <summary>An option whose length need not be that of its data.</summary>
    public static byte[] Option(uint option, uint length, ReadOnlySpan<byte> data) =>
        new Packet().U64(0x49484156454F5054).U32(option).U32(length).Raw(data).ToArray();

    /// <summary>The data of INFO and GO.</summary>
    public static byte[] Wish(string exportName, params ReadOnlySpan<ushort> infos)
    {
        Packet packet = new Packet().Text(exportName).U16((ushort)infos.Length);
        foreach (ushort info in infos)
        {
            packet.U16(info);
        }

        return packet.ToArray();
    }

    /// <summary>The data of LIST_META_CONTEXT and SET_META_CONTEXT.</summary>
    public static byte[] Contexts(string exportName, params ReadOnlySpan<string> queries)
    {
        Packet packet = new Packet().Text(exportName).U32((uint)queries.Length);
        foreach (string query in queries)
        {
            packet.Text(query);
        }

        return packet.ToArray();
    }

    /// <summary>The header of a request.</summary>
    public static byte[] Request(HeaderMode mode, int command, ulong cookie, ulong offset, ulong length, int flags = 0)
    {
        Packet packet = new Packet().U32(mode == HeaderMode.Extended ? 0x21e41c71 : 0x25609513u)
            .U16((ushort)flags).U16((ushort)command).U64(cookie).U64(offset);
        return (mode == HeaderMode.Extended ? packet.U64(length) : packet.U32((uint)length)).ToArray();
    }

    /// <summary>A write with its data.</summary>
    public static byte[] Write(HeaderMode mode, ulong cookie, ulong offset, ReadOnlySpan<byte> data, int flags = 0) =>
    [
        .. Request(
            mode,
            (int)NbdCommand.Write,
            cookie,
            offset,
            (ulong)data.Length,
            flags | (mode == HeaderMode.Extended ? (int)CommandFlags.PayloadLength : 0)),
        .. data,
    ];

    public Packet U16(ushort value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        return Raw(bytes);
    }

    public Packet U32(uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return Raw(bytes);
    }

    public Packet U64(ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return Raw(bytes);
    }

    /// <summary>A string behind its length.</summary>
    public Packet Text(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return U32((uint)bytes.Length).Raw(bytes);
    }

    public Packet Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public byte[] ToArray() => [.. _bytes];
}
