// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <summary>The server's side of fixed newstyle negotiation: option by option until the client goes, leaves or breaks a rule.</summary>
/// <remarks>
/// <para>Bytes are read exactly as announced and never ahead, so what a client sends in plain text behind STARTTLS meets the
/// TLS handshake and fails it. Source: NBD protocol, "Fixed newstyle negotiation"; docs/nbd.md has the table of answers.</para>
/// <para>Threading. One thread, which blocks; whoever limits the time of a handshake closes the stream.</para>
/// </remarks>
internal sealed partial class ServerHandshake(Stream stream, IExportDirectory directory, Func<Stream, Stream>? startTls)
{
    private readonly byte[] _header = new byte[OptionReplyHeader.SizeBytes];
    private readonly ArrayBufferWriter<byte> _replies = new();
    private Stream _stream = stream;
    private bool _isEncrypted;
    private bool _isNoZeroes;
    private bool _isStructured;
    private bool _isExtended;

    /// <summary>Negotiates.</summary>
    /// <returns>What was agreed; null when the client left or has to be dropped.</returns>
    /// <exception cref="IOException">The connection ended, or TLS failed.</exception>
    public Negotiated? Run()
    {
        if (!Greet())
        {
            return null;
        }

        for (int count = 0; count < NbdLimits.MaximumOptions; count++)
        {
            SendReplies();
            _stream.ReadExactly(_header.AsSpan(0, OptionHeader.SizeBytes));
            if (!OptionHeader.TryRead(_header, out OptionHeader option) || option.Length > NbdLimits.MaximumSkippedOptionBytes)
            {
                return null;
            }

            if (option.Length > NbdLimits.MaximumOptionBytes)
            {
                if (option.Option == NbdOption.ExportName)
                {
                    return null;
                }

                Skip(option.Length);
                Reply(option.Option, OptionReply.ErrorTooBig, $"An option is at most {NbdLimits.MaximumOptionBytes} bytes long.");
                continue;
            }

            byte[] data = new byte[option.Length];
            _stream.ReadExactly(data);
            (bool isOver, NbdExport? export) = Answer(option.Option, data);
            if (isOver)
            {
                SendReplies();
                return export is null ? null : new Negotiated(_stream, export, _isStructured, _isExtended, _contexts);
            }
        }

        SendReplies();
        return null;
    }

    private bool Greet()
    {
        Span<byte> greeting = stackalloc byte[18];
        BinaryPrimitives.WriteUInt64BigEndian(greeting, NbdMagic.Greeting);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], NbdMagic.Option);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], (ushort)(HandshakeFlags.FixedNewstyle | HandshakeFlags.NoZeroes));
        _stream.Write(greeting);

        Span<byte> answer = stackalloc byte[4];
        _stream.ReadExactly(answer);
        uint flags = BinaryPrimitives.ReadUInt32BigEndian(answer);
        _isNoZeroes = (flags & (uint)HandshakeFlags.NoZeroes) != 0;
        return (flags & ~(uint)(HandshakeFlags.FixedNewstyle | HandshakeFlags.NoZeroes)) == 0;
    }

    private (bool IsOver, NbdExport? Export) Answer(NbdOption option, byte[] data)
    {
        if (startTls is not null && !_isEncrypted && option is not (NbdOption.StartTls or NbdOption.Abort))
        {
            if (option == NbdOption.ExportName)
            {
                return (true, null);
            }

            Reply(option, OptionReply.ErrorTlsRequired, "This server talks TLS only.");
            return default;
        }

        switch (option)
        {
            case NbdOption.ExportName:
                return (true, SendOldExport(data));
            case NbdOption.Abort:
                Reply(option, OptionReply.Ack);
                return (true, null);
            case NbdOption.List:
                AnswerList(data);
                break;
            case NbdOption.StartTls:
                AnswerStartTls(data);
                break;
            case NbdOption.Info or NbdOption.Go:
                NbdExport? export = AnswerInfo(option, data);
                return (option == NbdOption.Go && export is not null, export);
            case NbdOption.StructuredReply or NbdOption.ExtendedHeaders:
                AnswerFormat(option, data);
                break;
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                AnswerMetaContext(option, data);
                break;
            default:
                Reply(option, OptionReply.ErrorUnsupported, "This option is not known here.");
                break;
        }

        return default;
    }

    // The oldest way in has no room for an error, which a client would take for size and flags: what can't be served can
    // only be dropped.
    private NbdExport? SendOldExport(byte[] name)
    {
        WireReader reader = new(name);
        if (!reader.TryTakeString(name.Length, out string exportName) || directory.Find(exportName) is not { } export ||
            export.MinimumBlockBytes > NbdLimits.UnnegotiatedAlignmentBytes || IsAnotherThanTold(exportName, export))
        {
            return null;
        }

        KeepContextsOf(export);
        byte[] reply = new byte[10 + (_isNoZeroes ? 0 : 124)];
        BinaryPrimitives.WriteUInt64BigEndian(reply, (ulong)export.LengthBytes);
        BinaryPrimitives.WriteUInt16BigEndian(reply.AsSpan(8), (ushort)export.GetFlags(_isStructured, _isExtended));
        _stream.Write(reply);
        return export;
    }

    private void AnswerList(byte[] data)
    {
        if (data.Length != 0)
        {
            Reply(NbdOption.List, OptionReply.ErrorInvalid, "A list is asked for without data.");
            return;
        }

        foreach (NbdExport export in directory.List())
        {
            byte[] name = Encoding.UTF8.GetBytes(export.Name);
            byte[] reply = [.. BigEndian((uint)name.Length), .. name, .. Encoding.UTF8.GetBytes(export.Description)];
            Reply(NbdOption.List, OptionReply.Server, reply);
        }

        Reply(NbdOption.List, OptionReply.Ack);
    }

    private void AnswerStartTls(byte[] data)
    {
        if (data.Length != 0)
        {
            Reply(NbdOption.StartTls, OptionReply.ErrorInvalid, "TLS is started without data.");
        }
        else if (_isEncrypted)
        {
            Reply(NbdOption.StartTls, OptionReply.ErrorInvalid, "TLS was started before.");
        }
        else if (startTls is null)
        {
            Reply(NbdOption.StartTls, OptionReply.ErrorPolicy, "This server has no certificate.");
        }
        else
        {
            Reply(NbdOption.StartTls, OptionReply.Ack);
            SendReplies();
            _stream = startTls(_stream);
            _isEncrypted = true;
            (_isStructured, _isExtended, _contextsExport, _contexts, _told) = (false, false, null, [], null);
        }
    }

    private void AnswerFormat(NbdOption option, byte[] data)
    {
        if (data.Length != 0)
        {
            Reply(option, OptionReply.ErrorInvalid, "This option has no data.");
        }
        else if (_isExtended)
        {
            Reply(
                option,
                option == NbdOption.StructuredReply ? OptionReply.ErrorExtendedHeadersRequired : OptionReply.ErrorInvalid,
                "Extended headers were chosen before.");
        }
        else if (option == NbdOption.StructuredReply && _isStructured)
        {
            Reply(option, OptionReply.ErrorInvalid, "Structured replies were chosen before.");
        }
        else
        {
            _isStructured = true;
            _isExtended = option == NbdOption.ExtendedHeaders;
            Reply(option, OptionReply.Ack);
        }
    }

    private NbdExport? AnswerInfo(NbdOption option, byte[] data)
    {
        WireReader reader = new(data);
        if (!reader.TryTakeString(out string name) || !reader.TryTakeUInt16(out ushort count) || reader.Rest.Length != count * 2)
        {
            Reply(option, OptionReply.ErrorInvalid, "The lengths within the option don't fit together.");
            return null;
        }

        bool wantsName = false;
        bool wantsDescription = false;
        bool wantsBlockSize = false;
        while (reader.TryTakeUInt16(out ushort type))
        {
            wantsName |= type == (ushort)InfoType.Name;
            wantsDescription |= type == (ushort)InfoType.Description;
            wantsBlockSize |= type == (ushort)InfoType.BlockSize;
        }

        if (directory.Find(name) is not { } export)
        {
            Reply(option, OptionReply.ErrorUnknown, $"There is no export named '{name}'.");
            return null;
        }

        if (!wantsBlockSize && export.MinimumBlockBytes > NbdLimits.UnnegotiatedAlignmentBytes)
        {
            Reply(option, OptionReply.ErrorBlockSizeRequired, $"This export has blocks of {export.MinimumBlockBytes} bytes.");
            return null;
        }

        if (option == NbdOption.Go)
        {
            if (IsAnotherThanTold(name, export))
            {
                Reply(option, OptionReply.ErrorUnknown, "The export that was asked about has ended. Connect again for the next one.");
                return null;
            }

            KeepContextsOf(export);
        }

        SendInfo(option, export, wantsName, wantsDescription);
        Reply(option, OptionReply.Ack);
        return export;
    }

    private void SendInfo(NbdOption option, NbdExport export, bool wantsName, bool wantsDescription)
    {
        byte[] information = new byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(information, (ushort)InfoType.Export);
        BinaryPrimitives.WriteUInt64BigEndian(information.AsSpan(2), (ulong)export.LengthBytes);
        BinaryPrimitives.WriteUInt16BigEndian(information.AsSpan(10), (ushort)export.GetFlags(_isStructured, _isExtended));
        Reply(option, OptionReply.Info, information);

        byte[] sizes = new byte[14];
        BinaryPrimitives.WriteUInt16BigEndian(sizes, (ushort)InfoType.BlockSize);
        BinaryPrimitives.WriteUInt32BigEndian(sizes.AsSpan(2), (uint)export.MinimumBlockBytes);
        BinaryPrimitives.WriteUInt32BigEndian(
            sizes.AsSpan(6), (uint)Math.Max(NbdLimits.PreferredBlockBytes, export.MinimumBlockBytes));
        BinaryPrimitives.WriteUInt32BigEndian(sizes.AsSpan(10), NbdLimits.MaximumPayloadBytes);
        Reply(option, OptionReply.Info, sizes);

        if (wantsName)
        {
            Reply(option, OptionReply.Info, [.. BigEndian((ushort)InfoType.Name), .. Encoding.UTF8.GetBytes(export.Name)]);
        }

        if (wantsDescription && export.Description.Length != 0)
        {
            Reply(
                option,
                OptionReply.Info,
                [.. BigEndian((ushort)InfoType.Description), .. Encoding.UTF8.GetBytes(export.Description)]);
        }
    }

    // The text may repeat a name of the client, which ends up on a terminal, and is a string of the protocol itself.
    private void Reply(NbdOption option, OptionReply type, string text)
    {
        byte[] bytes = new byte[NbdLimits.MaximumStringBytes];
        _ = Utf8.FromUtf16(PrintableText.Of(text), bytes, out _, out int writtenBytes);
        Reply(option, type, bytes.AsSpan(0, writtenBytes));
    }

    private void Reply(NbdOption option, OptionReply type, params ReadOnlySpan<byte> data)
    {
        int replyBytes = OptionReplyHeader.SizeBytes + data.Length;
        Span<byte> reply = _replies.GetSpan(replyBytes);
        new OptionReplyHeader(option, type, (uint)data.Length).Write(reply);
        data.CopyTo(reply[OptionReplyHeader.SizeBytes..]);
        _replies.Advance(replyBytes);
    }

    // All answers to an option go together, because each send may wake the client.
    private void SendReplies()
    {
        if (_replies.WrittenCount != 0)
        {
            _stream.Write(_replies.WrittenSpan);
            _replies.ResetWrittenCount();
        }
    }

    private void Skip(uint bytes)
    {
        byte[] scratch = new byte[Math.Min(bytes, NbdLimits.MaximumOptionBytes)];
        for (uint rest = bytes; rest != 0;)
        {
            int taken = (int)Math.Min(rest, (uint)scratch.Length);
            _stream.ReadExactly(scratch.AsSpan(0, taken));
            rest -= (uint)taken;
        }
    }

    private static byte[] BigEndian(uint value)
    {
        byte[] bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    private static byte[] BigEndian(ushort value)
    {
        byte[] bytes = new byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        return bytes;
    }
}
