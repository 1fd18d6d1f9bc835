// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Golden;

/// <summary>One recorded connection, read with the engine's own parsers.</summary>
internal sealed class Recording
{
    private const int GreetingBytes = 18;

    public Recording(string name)
    {
        Client = Load(name + ".client.bin");
        Server = Load(name + ".server.bin");
    }

    public byte[] Client { get; }

    public byte[] Server { get; }

    /// <summary>What the recorded disk held.</summary>
    public static byte[] Content()
    {
        byte[] content = new byte[256 * 1024];
        Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("fleece", 100))).CopyTo(content, 65536);
        return content;
    }

    /// <summary>The options of the client with their data, and its requests.</summary>
    public (List<(NbdOption Option, byte[] Data)> Options, List<RequestHeader> Requests) ReadClient()
    {
        List<(NbdOption Option, byte[] Data)> options = [];
        List<RequestHeader> requests = [];
        ReadOnlySpan<byte> rest = Client.AsSpan(4);
        while (!rest.IsEmpty && (options.Count == 0 || options[^1].Option != NbdOption.Go))
        {
            Assert.True(OptionHeader.TryRead(rest, out OptionHeader option));
            options.Add((option.Option, rest.Slice(OptionHeader.SizeBytes, (int)option.Length).ToArray()));
            rest = rest[(OptionHeader.SizeBytes + (int)option.Length)..];
        }

        while (!rest.IsEmpty)
        {
            Assert.True(RequestHeader.TryRead(rest, isExtended: false, out RequestHeader request));
            requests.Add(request);
            rest = rest[(RequestHeader.CompactBytes + (int)request.PayloadBytes(isExtended: false))..];
        }

        return (options, requests);
    }

    /// <summary>The server's replies to options, and to requests as their cookies with the types of their chunks.</summary>
    public (List<OptionReplyHeader> Options, List<(ulong Cookie, string Form)> Replies) ReadServer()
    {
        List<OptionReplyHeader> options = [];
        List<(ulong Cookie, string Form)> replies = [];
        ReadOnlySpan<byte> rest = Server.AsSpan(GreetingBytes);
        while (!rest.IsEmpty && (options.Count == 0 || options[^1] is not { Option: NbdOption.Go, Type: OptionReply.Ack }))
        {
            Assert.True(OptionReplyHeader.TryRead(rest, out OptionReplyHeader reply));
            options.Add(reply);
            rest = rest[(OptionReplyHeader.SizeBytes + (int)reply.Length)..];
        }

        while (!rest.IsEmpty)
        {
            replies.Add(ReadReply(ref rest));
        }

        return (options, replies);
    }

    private static (ulong Cookie, string Form) ReadReply(ref ReadOnlySpan<byte> rest)
    {
        WireReader reader = new(rest);
        Assert.True(reader.TryTakeUInt32(out uint magic));
        if (magic == NbdMagic.SimpleReply)
        {
            SimpleReplyHeader simple = SimpleReplyHeader.ReadAfterMagic(reader.Rest);
            rest = rest[SimpleReplyHeader.SizeBytes..];
            return (simple.Cookie, $"simple {simple.Error}");
        }

        Assert.Equal(NbdMagic.StructuredReply, magic);
        ChunkHeader chunk = ChunkHeader.ReadAfterMagic(reader.Rest, isExtended: false);
        rest = rest[(ChunkHeader.CompactBytes + (int)chunk.Length)..];
        return (chunk.Cookie, $"{chunk.Type}{(chunk.IsDone ? " done" : string.Empty)}");
    }

    private static byte[] Load(string name)
    {
        using Stream stream = typeof(Recording).Assembly.GetManifestResourceStream(name)!;
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
