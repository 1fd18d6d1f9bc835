// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tls;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>A request as the fake server got it.</summary>
internal sealed record FakeRequest(RequestHeader Header, byte[] Payload)
{
    public NbdCommand Command => Header.Command;

    public ulong Cookie => Header.Cookie;
}

/// <summary>The server's end of one connection.</summary>
internal sealed class FakeConnection(Socket socket) : IDisposable
{
    // So that a client that says nothing fails a test instead of stopping it.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly NetworkStream _stream = new(socket, ownsSocket: true);
    private ReplyForm _form;

    /// <summary>Answers a well-behaved client's options until it is in its transmission phase.</summary>
    public async Task ShakeHandsAsync(FakeExport export)
    {
        _form = export.Form;
        await GreetAsync();
        while (true)
        {
            byte[] header = await ReadAsync(OptionHeader.SizeBytes);
            Assert.True(OptionHeader.TryRead(header, out OptionHeader option));
            await ReadAsync((int)option.Length);
            if (export.Answer is { } answer && answer.Option == option.Option)
            {
                await SendAsync(answer.Reply);
                return;
            }

            await SendAsync(Answer(export, option.Option));
            if (option.Option == NbdOption.Go)
            {
                return;
            }
        }
    }

    /// <summary>Sends the greeting of a fixed newstyle server and reads the client's flags.</summary>
    public async Task GreetAsync()
    {
        byte[] greeting = [.. UInt64(NbdMagic.Greeting), .. UInt64(NbdMagic.Option), 0, 3];
        await SendAsync(greeting);
        Assert.Equal([0, 0, 0, 3], await ReadAsync(sizeof(uint)));
    }

    public async Task<OptionHeader> ReadOptionAsync()
    {
        Assert.True(OptionHeader.TryRead(await ReadAsync(OptionHeader.SizeBytes), out OptionHeader option));
        await ReadAsync((int)option.Length);
        return option;
    }

    public async Task<FakeRequest> ReadRequestAsync()
    {
        bool isExtended = _form == ReplyForm.Extended;
        byte[] bytes = await ReadAsync(RequestHeader.SizeBytes(isExtended));
        Assert.True(RequestHeader.TryRead(bytes, isExtended, out RequestHeader header));
        return new FakeRequest(header, await ReadAsync((int)header.PayloadBytes(isExtended)));
    }

    public async Task<FakeRequest> ReadRequestAsync(NbdCommand expected)
    {
        FakeRequest request = await ReadRequestAsync();
        Assert.Equal(expected, request.Command);
        return request;
    }

    /// <summary>Reads a request and acknowledges it; a read gets zeros.</summary>
    public async Task<FakeRequest> ServeAsync(NbdCommand expected)
    {
        FakeRequest request = await ReadRequestAsync(expected);
        await AcknowledgeAsync(request);
        return request;
    }

    public Task AcknowledgeAsync(FakeRequest request) => request.Command == NbdCommand.Read
        ? SendAsync(Data(request.Cookie, request.Header.Offset, new byte[request.Header.Length], isDone: true))
        : SendAsync(
            _form == ReplyForm.Extended
                ? Chunk(ChunkFlags.Done, ChunkType.None, request.Cookie, [], request.Header.Offset)
                : Simple(request.Cookie));

    /// <summary>Data of a read; with extended headers the offset of the request goes along, by default the same.</summary>
    public byte[] Data(ulong cookie, ulong offset, byte[] data, bool isDone, ulong? requestOffset = null) =>
        Chunk(
            isDone ? ChunkFlags.Done : ChunkFlags.None,
            ChunkType.OffsetData,
            cookie,
            [.. UInt64(offset), .. data],
            requestOffset ?? offset);

    public byte[] Chunk(ChunkFlags flags, ChunkType type, ulong cookie, byte[] payload, ulong requestOffset = 0)
    {
        bool isExtended = _form == ReplyForm.Extended;
        byte[] bytes = new byte[ChunkHeader.SizeBytes(isExtended) + payload.Length];
        new ChunkHeader(flags, type, cookie, requestOffset, (ulong)payload.Length).Write(bytes, isExtended);
        payload.CopyTo(bytes, bytes.Length - payload.Length);
        return bytes;
    }

    public static byte[] Simple(ulong cookie, NbdError error = NbdError.None)
    {
        byte[] bytes = new byte[SimpleReplyHeader.SizeBytes];
        new SimpleReplyHeader(error, cookie).Write(bytes);
        return bytes;
    }

    public byte[] Error(ulong cookie, NbdError error, string text, bool isDone = true)
    {
        byte[] message = Encoding.UTF8.GetBytes(text);
        return Chunk(
            isDone ? ChunkFlags.Done : ChunkFlags.None,
            ChunkType.Error,
            cookie,
            [.. UInt32((uint)error), (byte)(message.Length >> 8), (byte)message.Length, .. message]);
    }

    /// <summary>Extents of one context; pairs of length and flags.</summary>
    public byte[] Extents(ulong cookie, bool isDone, uint context, params (ulong Length, ulong Flags)[] extents)
    {
        bool isExtended = _form == ReplyForm.Extended;
        List<byte> payload = [.. UInt32(context)];
        if (isExtended)
        {
            payload.AddRange(UInt32((uint)extents.Length));
        }

        foreach ((ulong length, ulong flags) in extents)
        {
            payload.AddRange(isExtended ? [.. UInt64(length), .. UInt64(flags)] : [.. UInt32((uint)length), .. UInt32((uint)flags)]);
        }

        return Chunk(
            isDone ? ChunkFlags.Done : ChunkFlags.None,
            isExtended ? ChunkType.BlockStatusExtended : ChunkType.BlockStatus,
            cookie,
            [.. payload]);
    }

    public static byte[] OptionAnswer(NbdOption option, OptionReply type, params byte[] data)
    {
        byte[] bytes = new byte[OptionReplyHeader.SizeBytes + data.Length];
        new OptionReplyHeader(option, type, (uint)data.Length).Write(bytes);
        data.CopyTo(bytes, OptionReplyHeader.SizeBytes);
        return bytes;
    }

    public static byte[] UInt64(ulong value)
    {
        byte[] bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] UInt32(uint value)
    {
        byte[] bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    /// <summary>The server's side of TLS, on a thread of its own as the real server has one.</summary>
    public Task StartTlsAsync(TlsServerOptions options) =>
        OwnThread.Run(() => TlsHandshake.AuthenticateAsServer(_stream, options));

    public async Task SendAsync(byte[] bytes) => await _stream.WriteAsync(bytes);

    public async Task<byte[]> ReadAsync(int lengthBytes)
    {
        byte[] bytes = new byte[lengthBytes];
        await _stream.ReadExactlyAsync(bytes).AsTask().WaitAsync(Patience);
        return bytes;
    }

    /// <summary>Waits until the client has ended the connection, and fails when it sends anything before.</summary>
    public async Task ReadEndAsync() => Assert.Equal(0, await _stream.ReadAsync(new byte[1]).AsTask().WaitAsync(Patience));

    public void Dispose() => _stream.Dispose();

    private static byte[] Answer(FakeExport export, NbdOption option) => option switch
    {
        NbdOption.ExtendedHeaders => Accept(option, export.Form == ReplyForm.Extended),
        NbdOption.StructuredReply => Accept(option, export.Form == ReplyForm.Structured),
        NbdOption.SetMetaContext =>
        [
            .. export.Contexts.SelectMany(context => OptionAnswer(
                option, OptionReply.MetaContext, [.. UInt32(context.Number), .. Encoding.UTF8.GetBytes(context.Name)])),
            .. OptionAnswer(option, OptionReply.Ack),
        ],
        NbdOption.ListMetaContext when export.Identity is { } names =>
        [
            .. names.SelectMany(name => OptionAnswer(option, OptionReply.MetaContext, [.. UInt32(0), .. Encoding.UTF8.GetBytes(name)])),
            .. OptionAnswer(option, OptionReply.Ack),
        ],
        NbdOption.Go => [.. Information(export), .. OptionAnswer(option, OptionReply.Ack)],
        _ => Accept(option, isAccepted: false),
    };

    private static byte[] Information(FakeExport export)
    {
        byte[] size = OptionAnswer(
            NbdOption.Go,
            OptionReply.Info,
            [0, (byte)InfoType.Export, .. UInt64(export.LengthBytes), (byte)((ushort)export.Flags >> 8), (byte)export.Flags]);
        return export.BlockSize is not { } block
            ? size
            :
            [
                .. size,
                .. OptionAnswer(
                    NbdOption.Go,
                    OptionReply.Info,
                    [0, (byte)InfoType.BlockSize, .. UInt32(block.Minimum), .. UInt32(block.Preferred), .. UInt32(block.Maximum)]),
            ];
    }

    private static byte[] Accept(NbdOption option, bool isAccepted) =>
        OptionAnswer(option, isAccepted ? OptionReply.Ack : OptionReply.ErrorUnsupported);
}
