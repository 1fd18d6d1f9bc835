// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>One reply to an option.</summary>
internal sealed record OptionAnswer(uint Option, OptionReply Type, byte[] Data)
{
    public bool IsError => ((uint)Type & 0x80000000) != 0;

    public bool IsFinal => IsError || Type == OptionReply.Ack;

    public string Text => Encoding.UTF8.GetString(Data);
}

/// <summary>One chunk of a structured reply.</summary>
internal sealed record Chunk(ushort Flags, ChunkType Type, byte[] Payload);

/// <summary>The whole reply to a request: simple, or all chunks of a structured one.</summary>
/// <param name="Cookie">The request it belongs to.</param>
/// <param name="Error">The error number; 0 for success.</param>
/// <param name="SimpleData">The data behind a simple reply; null when the reply was structured.</param>
/// <param name="Chunks">The chunks of a structured reply.</param>
internal sealed record Answer(ulong Cookie, NbdError Error, byte[]? SimpleData, IReadOnlyList<Chunk> Chunks)
{
    /// <summary>The text of a structured error.</summary>
    public string Text
    {
        get
        {
            Chunk error = Chunks.Single(chunk => ((int)chunk.Type & 0x8000) != 0);
            return Encoding.UTF8.GetString(error.Payload.AsSpan(6, BinaryPrimitives.ReadUInt16BigEndian(error.Payload.AsSpan(4))));
        }
    }

    /// <summary>What was read: data as it came, holes as zeros.</summary>
    public byte[] Data(ulong offset, int lengthBytes)
    {
        Assert.Equal(NbdError.None, Error);
        if (SimpleData is not null)
        {
            return SimpleData;
        }

        byte[] data = new byte[lengthBytes];
        foreach (Chunk chunk in Chunks.Where(chunk => chunk.Type != ChunkType.None))
        {
            ulong at = BinaryPrimitives.ReadUInt64BigEndian(chunk.Payload) - offset;
            if (chunk.Type == ChunkType.OffsetData)
            {
                chunk.Payload.AsSpan(8).CopyTo(data.AsSpan((int)at));
            }
            else
            {
                Assert.Equal(ChunkType.OffsetHole, chunk.Type);
            }
        }

        return data;
    }

    /// <summary>The extents of one context, by its id.</summary>
    public IReadOnlyList<(ulong LengthBytes, ulong Flags)> Extents(uint contextId)
    {
        foreach (Chunk chunk in Chunks)
        {
            if (BinaryPrimitives.ReadUInt32BigEndian(chunk.Payload) == contextId)
            {
                return chunk.Type == ChunkType.BlockStatus ? Compact(chunk.Payload) : Extended(chunk);
            }
        }

        throw new InvalidOperationException($"No extents of context {contextId} in the reply.");
    }

    private static List<(ulong LengthBytes, ulong Flags)> Compact(byte[] payload)
    {
        List<(ulong, ulong)> extents = [];
        for (int at = 4; at < payload.Length; at += 8)
        {
            extents.Add((
                BinaryPrimitives.ReadUInt32BigEndian(payload.AsSpan(at)), BinaryPrimitives.ReadUInt32BigEndian(payload.AsSpan(at + 4))));
        }

        return extents;
    }

    private static List<(ulong LengthBytes, ulong Flags)> Extended(Chunk chunk)
    {
        Assert.Equal(ChunkType.BlockStatusExtended, chunk.Type);
        List<(ulong, ulong)> extents = [];
        for (int at = 8; at < chunk.Payload.Length; at += 16)
        {
            extents.Add((
                BinaryPrimitives.ReadUInt64BigEndian(chunk.Payload.AsSpan(at)),
                BinaryPrimitives.ReadUInt64BigEndian(chunk.Payload.AsSpan(at + 8))));
        }

        Assert.Equal(extents.Count, (int)BinaryPrimitives.ReadUInt32BigEndian(chunk.Payload.AsSpan(4)));
        return extents;
    }
}
