// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A client that sends whatever bytes a test gives it and reads replies strictly. It blocks, and gives up after a while.</summary>
internal sealed class RawClient : IDisposable
{
    private const int TimeoutMilliseconds = 60_000;

    private readonly NetworkStream _stream;
    private readonly Dictionary<ulong, (ulong Offset, int Length)> _reads = [];
    private ulong _cookie = 0x1000;

    private RawClient(Socket socket)
    {
        Socket = socket;
        _stream = new NetworkStream(socket, ownsSocket: true)
        {
            ReadTimeout = TimeoutMilliseconds,
            WriteTimeout = TimeoutMilliseconds,
        };
    }

    public Socket Socket { get; }

    public HeaderMode Mode { get; set; }

    /// <summary>The flags of the export, from GO.</summary>
    public TransmissionFlags Flags { get; private set; }

    /// <summary>The size of the export, from GO.</summary>
    public ulong SizeBytes { get; private set; }

    /// <summary>Ids of the contexts that were chosen, by name.</summary>
    public Dictionary<string, uint> ContextIds { get; } = [];

    public static RawClient Connect(NbdUri uri, Action<Socket>? prepare = null)
    {
        Socket socket = uri.IsUnix
            ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        prepare?.Invoke(socket);
        socket.Connect(uri.IsUnix ? new UnixDomainSocketEndPoint(uri.SocketPath) : new IPEndPoint(IPAddress.Loopback, uri.Port));
        return new RawClient(socket);
    }

    /// <summary>A client of a connection that is there already, in transmission.</summary>
    public static RawClient Over(Socket socket, HeaderMode mode) => new(socket) { Mode = mode };

    /// <summary>Reads the greeting and answers with flags.</summary>
    public RawClient Greet(uint flags = 3)
    {
        byte[] greeting = Read(18);
        Assert.Equal(0x4e42444d41474943u, BinaryPrimitives.ReadUInt64BigEndian(greeting));
        Assert.Equal(0x49484156454F5054u, BinaryPrimitives.ReadUInt64BigEndian(greeting.AsSpan(8)));
        Assert.Equal(3, BinaryPrimitives.ReadUInt16BigEndian(greeting.AsSpan(16)));
        Send(new Packet().U32(flags).ToArray());
        return this;
    }

    /// <summary>Negotiates a mode, contexts and an export.</summary>
    public RawClient Go(HeaderMode mode, string exportName, params ReadOnlySpan<string> contexts)
    {
        Mode = mode;
        if (mode != HeaderMode.Simple)
        {
            uint format = mode == HeaderMode.Extended ? 11u : 8u;
            Assert.Equal(OptionReply.Ack, Ask(Packet.Option(format))[^1].Type);
        }

        if (contexts.Length != 0)
        {
            foreach (OptionAnswer context in Ask(Packet.Option(10, Packet.Contexts(exportName, contexts)))[..^1])
            {
                ContextIds.Add(context.Text[4..], BinaryPrimitives.ReadUInt32BigEndian(context.Data));
            }
        }

        IReadOnlyList<OptionAnswer> answers = Ask(Packet.Option(7, Packet.Wish(exportName, 3)));
        Assert.Equal(OptionReply.Ack, answers[^1].Type);
        byte[] info = answers.Single(answer => answer.Data is [0, 0, ..]).Data;
        SizeBytes = BinaryPrimitives.ReadUInt64BigEndian(info.AsSpan(2));
        Flags = (TransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(info.AsSpan(10));
        return this;
    }

    /// <summary>Sends an option and reads every reply to it, up to the final one.</summary>
    public List<OptionAnswer> Ask(byte[] option)
    {
        Send(option);
        List<OptionAnswer> answers = [];
        do
        {
            answers.Add(ReadOptionAnswer());
            Assert.Equal(BinaryPrimitives.ReadUInt32BigEndian(option.AsSpan(8)), answers[^1].Option);
        }
        while (!answers[^1].IsFinal);
        return answers;
    }

    /// <summary>Sends an option that has one reply, and returns its type.</summary>
    public OptionReply AskOne(uint option, params ReadOnlySpan<byte> data) =>
        Assert.Single(Ask(Packet.Option(option, data))).Type;

    public OptionAnswer ReadOptionAnswer()
    {
        byte[] header = Read(20);
        Assert.Equal(0x0003e889045565a9u, BinaryPrimitives.ReadUInt64BigEndian(header));
        return new OptionAnswer(
            BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(8)),
            (OptionReply)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12)),
            Read((int)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(16))));
    }

    /// <summary>Sends the header of a request, and its payload if it has one; returns its cookie.</summary>
    public ulong Begin(int command, ulong offset, ulong length, int flags = 0, byte[]? payload = null)
    {
        ulong cookie = ++_cookie;
        if (command == (int)NbdCommand.Read)
        {
            _reads[cookie] = (offset, (int)length);
        }

        Send([.. Packet.Request(Mode, command, cookie, offset, length, flags), .. payload ?? []]);
        return cookie;
    }

    /// <summary>A request and its reply, which must be the next one.</summary>
    public Answer Call(int command, ulong offset, ulong length, int flags = 0, byte[]? payload = null)
    {
        ulong cookie = Begin(command, offset, length, flags, payload);
        Answer answer = ReadAnswer();
        Assert.Equal(cookie, answer.Cookie);
        return answer;
    }

    public byte[] ReadDisk(ulong offset, int lengthBytes) =>
        Call((int)NbdCommand.Read, offset, (ulong)lengthBytes).Data(offset, lengthBytes);

    public Answer Write(ulong offset, byte[] data, int flags = 0)
    {
        ulong cookie = BeginWrite(offset, data, flags);
        Answer answer = ReadAnswer();
        Assert.Equal(cookie, answer.Cookie);
        return answer;
    }

    public ulong BeginWrite(ulong offset, byte[] data, int flags = 0)
    {
        ulong cookie = ++_cookie;
        Send(Packet.Write(Mode, cookie, offset, data, flags));
        return cookie;
    }

    /// <summary>The next reply, whole; every rule of its form is checked.</summary>
    public Answer ReadAnswer()
    {
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(Read(4));
        if (magic == 0x67446698)
        {
            Assert.NotEqual(HeaderMode.Extended, Mode);
            NbdError error = (NbdError)BinaryPrimitives.ReadUInt32BigEndian(Read(4));
            ulong cookie = BinaryPrimitives.ReadUInt64BigEndian(Read(8));
            bool isRead = _reads.Remove(cookie, out (ulong Offset, int Length) read);
            Assert.True(Mode == HeaderMode.Simple || !isRead, "A structured connection answered a read simply.");
            return new Answer(cookie, error, isRead && error == NbdError.None ? Read(read.Length) : [], []);
        }

        return ReadChunks(magic);
    }

    /// <summary>Reads many replies and sorts them by cookie.</summary>
    public Dictionary<ulong, Answer> ReadAnswers(int count) =>
        Enumerable.Range(0, count).Select(_ => ReadAnswer()).ToDictionary(answer => answer.Cookie);

    public void Send(params ReadOnlySpan<byte> bytes) => _stream.Write(bytes);

    public byte[] Read(int bytes)
    {
        byte[] data = new byte[bytes];
        _stream.ReadExactly(data);
        return data;
    }

    /// <summary>Fails unless the server has closed the connection without another byte.</summary>
    public void AssertClosed() => Assert.Equal(0, ReadToEnd());

    /// <summary>Reads until the server closes; the number of bytes that still came.</summary>
    public long ReadToEnd()
    {
        byte[] rest = new byte[64 * 1024];
        long bytes = 0;
        try
        {
            while (_stream.Read(rest) is var got and not 0)
            {
                bytes += got;
            }
        }
        catch (IOException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
        {
            // Closed with bytes of the client unread.
        }

        return bytes;
    }

    public void Dispose() => _stream.Dispose();

    private Answer ReadChunks(uint magic)
    {
        Assert.NotEqual(HeaderMode.Simple, Mode);
        bool isExtended = Mode == HeaderMode.Extended;
        List<Chunk> chunks = [];
        ulong? cookie = null;
        NbdError error = NbdError.None;
        while (true)
        {
            Assert.Equal(isExtended ? 0x6e8a278c : 0x668e33efu, magic);
            byte[] header = Read(isExtended ? 28 : 16);
            ulong own = BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(4));
            Assert.Equal(cookie ??= own, own);
            ulong length = isExtended
                ? BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(20))
                : BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            Chunk chunk = new(
                BinaryPrimitives.ReadUInt16BigEndian(header),
                (ChunkType)BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(2)),
                Read(checked((int)length)));
            chunks.Add(chunk);
            if (((int)chunk.Type & 0x8000) != 0)
            {
                error = (NbdError)BinaryPrimitives.ReadUInt32BigEndian(chunk.Payload);
                Assert.Equal(chunk.Payload.Length - 6, BinaryPrimitives.ReadUInt16BigEndian(chunk.Payload.AsSpan(4)));
            }

            if ((chunk.Flags & 1) != 0)
            {
                return new Answer(own, error, null, chunks);
            }

            magic = BinaryPrimitives.ReadUInt32BigEndian(Read(4));
        }
    }
}
