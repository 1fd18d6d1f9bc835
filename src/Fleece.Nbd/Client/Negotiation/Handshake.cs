// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Fleece.Block;
using Fleece.Nbd.Tls;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>The client's side of the handshake: newstyle, with everything the server offers that is of use here.</summary>
/// <remarks>
/// The order is STARTTLS where the address asks for it, EXTENDED_HEADERS or else STRUCTURED_REPLY, SET_META_CONTEXT, LIST_META_CONTEXT for
/// the export's identity, GO or else EXPORT_NAME. Source: NBD protocol, "Fixed newstyle negotiation".
/// </remarks>
internal sealed class Handshake
{
    // The second word of a server that speaks only the protocol of before 2011.
    private const ulong OldStyle = 0x00420281861253;

    // Zeroes behind the answer to EXPORT_NAME for clients and servers that did not agree to leave them out.
    private const int ReservedBytes = 124;

    private readonly Socket _socket;
    private readonly NbdUri _uri;
    private readonly NbdNodeOptions _options;

    /// <summary>Begins over a connected socket, which <see cref="Stream"/> owns.</summary>
    public Handshake(Socket socket, NbdUri uri, NbdNodeOptions options)
    {
        _socket = socket;
        _uri = uri;
        _options = options;
        Stream = new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>The stream to go on with; TLS puts another in its place.</summary>
    public Stream Stream { get; private set; }

    /// <summary>Shakes hands.</summary>
    /// <returns>What was agreed.</returns>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/> documents.</exception>
    public async ValueTask<AgreedExport> RunAsync(CancellationToken cancellationToken)
    {
        OptionChannel channel = new(Stream, _uri);
        HandshakeFlags flags = await GreetAsync(channel, cancellationToken).ConfigureAwait(false);
        bool isFixed = (flags & HandshakeFlags.FixedNewstyle) != 0;
        if (_uri.IsTls)
        {
            await StartTlsAsync(channel, isFixed, cancellationToken).ConfigureAwait(false);
            channel = new OptionChannel(Stream, _uri);
        }

        // A server that is not of the fixed kind may drop a client for any option but EXPORT_NAME.
        ReplyForm form = isFixed ? await ChooseFormAsync(channel, cancellationToken).ConfigureAwait(false) : ReplyForm.Simple;
        Dictionary<string, uint> contexts = form == ReplyForm.Simple
            ? []
            : await SetContextsAsync(channel, cancellationToken).ConfigureAwait(false);
        IReadOnlyDictionary<string, string> identity = form == ReplyForm.Simple
            ? new Dictionary<string, string>()
            : await IdentityQuery.AskAsync(channel, _uri.ExportName, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string>? all = _options.ListsContexts && form != ReplyForm.Simple
            ? await ListContextsAsync(channel, cancellationToken).ConfigureAwait(false)
            : null;
        ExportInfo? info = isFixed ? await GoAsync(channel, cancellationToken).ConfigureAwait(false) : null;
        info ??= await NameExportAsync(channel, (flags & HandshakeFlags.NoZeroes) != 0, cancellationToken).ConfigureAwait(false);
        return info.ToExport(
            _uri, form, Number(contexts, MetaContexts.BaseAllocation), Number(contexts, MetaContexts.FleeceAccess), identity) with
        {
            Contexts = all,
            DirtyContext = _options.DirtyBitmap is null ? null : Number(contexts, MetaContexts.QemuDirtyBitmap + _options.DirtyBitmap),
        };
    }

    private static async ValueTask<HandshakeFlags> GreetAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        const string When = "before it had greeted";
        byte[] greeting = await channel.ReadAsync(2 * sizeof(ulong), When, cancellationToken).ConfigureAwait(false);
        ulong style = BinaryPrimitives.ReadUInt64BigEndian(greeting.AsSpan(sizeof(ulong)));
        if (BinaryPrimitives.ReadUInt64BigEndian(greeting) != NbdMagic.Greeting || style is not (NbdMagic.Option or OldStyle))
        {
            throw channel.Violation($"the greeting 0x{Convert.ToHexString(greeting)}", "that of an NBD server");
        }

        if (style == OldStyle)
        {
            throw channel.Violation($"an oldstyle greeting", "a newstyle one (nbdkit --newstyle, nbd-server 2.9.17 or later)");
        }

        byte[] bytes = await channel.ReadAsync(sizeof(ushort), When, cancellationToken).ConfigureAwait(false);
        HandshakeFlags flags =
            (HandshakeFlags)BinaryPrimitives.ReadUInt16BigEndian(bytes) & (HandshakeFlags.FixedNewstyle | HandshakeFlags.NoZeroes);
        byte[] answer = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(answer, (uint)flags);
        await channel.SendRawAsync(answer, cancellationToken).ConfigureAwait(false);
        return flags;
    }

    private async ValueTask StartTlsAsync(OptionChannel channel, bool isFixed, CancellationToken cancellationToken)
    {
        if (!isFixed)
        {
            throw TlsRefused("it speaks a protocol older than TLS");
        }

        await channel.SendAsync(NbdOption.StartTls, default, cancellationToken).ConfigureAwait(false);
        (OptionReply type, byte[] data) = await channel.ReadReplyAsync(NbdOption.StartTls, cancellationToken).ConfigureAwait(false);
        if (type != OptionReply.Ack)
        {
            throw TlsRefused(string.Create(
                CultureInfo.InvariantCulture, $"it answers 0x{(uint)type:x8}{ServerErrors.Quote(Encoding.UTF8.GetString(data))}"));
        }

        // The client speaks first in TLS, so whatever is here already was sent in plain text, by the server or by someone between.
        if (data.Length != 0 || _socket.Available != 0)
        {
            throw channel.Violation($"{data.Length + _socket.Available} plain bytes after it agreed to TLS", "none");
        }

        Stream = await TlsHandshake.AuthenticateAsClientAsync(Stream, _uri, _options.Tls, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask<ReplyForm> ChooseFormAsync(OptionChannel channel, CancellationToken cancellationToken) =>
        await IsAcceptedAsync(channel, NbdOption.ExtendedHeaders, cancellationToken).ConfigureAwait(false) ? ReplyForm.Extended :
        await IsAcceptedAsync(channel, NbdOption.StructuredReply, cancellationToken).ConfigureAwait(false) ? ReplyForm.Structured :
        ReplyForm.Simple;

    private async ValueTask<bool> IsAcceptedAsync(OptionChannel channel, NbdOption option, CancellationToken cancellationToken)
    {
        await channel.SendAsync(option, default, cancellationToken).ConfigureAwait(false);
        (OptionReply type, byte[] data) = await channel.ReadReplyAsync(option, cancellationToken).ConfigureAwait(false);
        return type switch
        {
            OptionReply.Ack when data.Length == 0 => true,
            OptionReply.ErrorTlsRequired => throw ServerErrors.OptionRefused(_uri, option, type, data),
            _ when type.IsError() => false,
            _ => throw channel.Violation($"reply {(uint)type} of {data.Length} bytes to {option}", "an empty ACK or an error"),
        };
    }

    private async ValueTask<Dictionary<string, uint>> SetContextsAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        Dictionary<string, uint> contexts = [];
        string[] queries = _options.DirtyBitmap is null
            ? [MetaContexts.BaseAllocation, MetaContexts.FleeceAccess]
            : [MetaContexts.QemuDirtyBitmap + _options.DirtyBitmap];

        // A server without contexts is one without status; an export it does not know is told by GO.
        return await ContextQuestion
            .AskAsync(
                channel,
                NbdOption.SetMetaContext,
                _uri.ExportName,
                queries,
                (number, context) => AddContext(channel, number, context, queries, contexts),
                cancellationToken)
            .ConfigureAwait(false) ? contexts : [];
    }

    // Without a query a server lists all it has.
    private async ValueTask<List<string>> ListContextsAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        List<string> names = [];
        _ = await ContextQuestion
            .AskAsync(
                channel, NbdOption.ListMetaContext, _uri.ExportName, [], (_, context) => names.Add(context), cancellationToken)
            .ConfigureAwait(false);
        return names;
    }

    private static void AddContext(
        OptionChannel channel, uint number, string context, string[] queries, Dictionary<string, uint> contexts)
    {
        if (!queries.Contains(context) || contexts.ContainsValue(number) || !contexts.TryAdd(context, number))
        {
            throw channel.Violation($"the context '{context}' with number {number}", "each asked context once, with its own number");
        }
    }

    private static uint? Number(Dictionary<string, uint> contexts, string name) =>
        contexts.TryGetValue(name, out uint number) ? number : null;

    /// <summary>Null when the server does not know the option.</summary>
    private async ValueTask<ExportInfo?> GoAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        using MemoryStream data = new();
        ContextQuestion.WriteString(data, _uri.ExportName);
        data.Write([0, 1, 0, (byte)InfoType.BlockSize]);
        await channel.SendAsync(NbdOption.Go, data.ToArray(), cancellationToken).ConfigureAwait(false);
        ExportInfo info = new();
        for (int replies = 0; replies < NbdLimits.MaximumOptionReplies; replies++)
        {
            (OptionReply type, byte[] reply) = await channel.ReadReplyAsync(NbdOption.Go, cancellationToken).ConfigureAwait(false);
            switch (type)
            {
                case OptionReply.Info:
                    info.Add(channel, reply);
                    break;
                case OptionReply.Ack when reply.Length == 0 && info.IsComplete:
                    return info;
                case OptionReply.ErrorUnsupported:
                    return null;
                case var _ when type.IsError():
                    throw ServerErrors.OptionRefused(_uri, NbdOption.Go, type, reply);
                default:
                    throw channel.Violation(
                        $"reply {(uint)type} of {reply.Length} bytes to Go", "the export's size and flags, then an empty ACK");
            }
        }

        throw channel.Violation($"more than {NbdLimits.MaximumOptionReplies} replies to Go", "fewer");
    }

    private async ValueTask<ExportInfo> NameExportAsync(OptionChannel channel, bool noZeroes, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.ExportName, Encoding.UTF8.GetBytes(_uri.ExportName), cancellationToken).ConfigureAwait(false);
        byte[] answer = await channel.ReadAsync(
            ExportInfo.NamedBytes + (noZeroes ? 0 : ReservedBytes),
            $"when asked for the export '{_uri.ExportName}', which it may not have",
            cancellationToken).ConfigureAwait(false);
        return ExportInfo.ReadNamed(channel, answer);
    }

    private BlockException TlsRefused(string reason) =>
        new(
            NbdErrors.TlsFailed,
            $"The NBD server at '{_uri}' does not start TLS: {reason}. Configure TLS there; an nbds address never falls back to plain " +
            "text.",
            _uri.ToString(),
            operation: "start TLS");
}
