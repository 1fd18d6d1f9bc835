// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Negotiation;

/// <summary>The server's side of fixed newstyle negotiation: option by option until the client goes, leaves or breaks a rule.</summary>
/// <remarks>
/// <para>Bytes are read exactly as announced and never ahead, so what a client sends in plain text behind STARTTLS meets the
/// TLS handshake and fails it. Source: NBD protocol, "Fixed newstyle negotiation"; docs/nbd.md has the table of answers.</para>
/// <para>Threading. One thread, which blocks; whoever limits the time of a handshake closes the stream.</para>
/// </remarks>
internal sealed class ServerHandshake(Stream stream, IExportDirectory directory, Func<Stream, Stream>? startTls)
{
    private readonly byte[] _header = new byte[OptionReplyHeader.SizeBytes];
    private readonly OptionReplies _replies = new();
    private MetaContextChoice _contexts = new(directory);
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
            _replies.SendTo(_stream);
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
                _replies.Add(option.Option, OptionReply.ErrorTooBig, $"An option is at most {NbdLimits.MaximumOptionBytes} bytes long.");
                continue;
            }

            byte[] data = new byte[option.Length];
            _stream.ReadExactly(data);
            (bool isOver, NbdExport? export) = Answer(option.Option, data);
            if (isOver)
            {
                _replies.SendTo(_stream);
                return export is null ? null : new Negotiated(_stream, export, _isStructured, _isExtended, _contexts.Of(export));
            }
        }

        _replies.SendTo(_stream);
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

            _replies.Add(option, OptionReply.ErrorTlsRequired, "This server talks TLS only.");
            return default;
        }

        switch (option)
        {
            case NbdOption.ExportName:
                return (true, SendOldExport(data));
            case NbdOption.Abort:
                _replies.Add(option, OptionReply.Ack);
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
                _contexts.Answer(option, data, _isStructured, _replies);
                break;
            default:
                _replies.Add(option, OptionReply.ErrorUnsupported, "This option is not known here.");
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
            export.MinimumBlockBytes > NbdLimits.UnnegotiatedAlignmentBytes || _contexts.IsAnotherThanTold(exportName, export))
        {
            return null;
        }

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
            _replies.Add(NbdOption.List, OptionReply.ErrorInvalid, "A list is asked for without data.");
            return;
        }

        foreach (NbdExport export in directory.List())
        {
            byte[] name = Encoding.UTF8.GetBytes(export.Name);
            _replies.AddNumbered(
                NbdOption.List, OptionReply.Server, (uint)name.Length, [.. name, .. Encoding.UTF8.GetBytes(export.Description)]);
        }

        _replies.Add(NbdOption.List, OptionReply.Ack);
    }

    private void AnswerStartTls(byte[] data)
    {
        if (data.Length != 0)
        {
            _replies.Add(NbdOption.StartTls, OptionReply.ErrorInvalid, "TLS is started without data.");
        }
        else if (_isEncrypted)
        {
            _replies.Add(NbdOption.StartTls, OptionReply.ErrorInvalid, "TLS was started before.");
        }
        else if (startTls is null)
        {
            _replies.Add(NbdOption.StartTls, OptionReply.ErrorPolicy, "This server has no certificate.");
        }
        else
        {
            _replies.Add(NbdOption.StartTls, OptionReply.Ack);
            _replies.SendTo(_stream);
            _stream = startTls(_stream);
            _isEncrypted = true;
            (_isStructured, _isExtended, _contexts) = (false, false, new MetaContextChoice(directory));
        }
    }

    private void AnswerFormat(NbdOption option, byte[] data)
    {
        if (data.Length != 0)
        {
            _replies.Add(option, OptionReply.ErrorInvalid, "This option has no data.");
        }
        else if (_isExtended)
        {
            _replies.Add(
                option,
                option == NbdOption.StructuredReply ? OptionReply.ErrorExtendedHeadersRequired : OptionReply.ErrorInvalid,
                "Extended headers were chosen before.");
        }
        else if (option == NbdOption.StructuredReply && _isStructured)
        {
            _replies.Add(option, OptionReply.ErrorInvalid, "Structured replies were chosen before.");
        }
        else
        {
            _isStructured = true;
            _isExtended = option == NbdOption.ExtendedHeaders;
            _replies.Add(option, OptionReply.Ack);
        }
    }

    private NbdExport? AnswerInfo(NbdOption option, byte[] data)
    {
        WireReader reader = new(data);
        if (!reader.TryTakeString(out string name) || !reader.TryTakeUInt16(out ushort count) || reader.Rest.Length != count * 2)
        {
            _replies.Add(option, OptionReply.ErrorInvalid, "The lengths within the option don't fit together.");
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
            _replies.Add(option, OptionReply.ErrorUnknown, $"There is no export named '{name}'.");
            return null;
        }

        if (!wantsBlockSize && export.MinimumBlockBytes > NbdLimits.UnnegotiatedAlignmentBytes)
        {
            _replies.Add(option, OptionReply.ErrorBlockSizeRequired, $"This export has blocks of {export.MinimumBlockBytes} bytes.");
            return null;
        }

        if (option == NbdOption.Go && _contexts.IsAnotherThanTold(name, export))
        {
            _replies.Add(option, OptionReply.ErrorUnknown, "The export that was asked about has ended. Connect again for the next one.");
            return null;
        }

        AddInfo(option, export, wantsName, wantsDescription);
        _replies.Add(option, OptionReply.Ack);
        return export;
    }

    private void AddInfo(NbdOption option, NbdExport export, bool wantsName, bool wantsDescription)
    {
        byte[] information = new byte[10];
        BinaryPrimitives.WriteUInt64BigEndian(information, (ulong)export.LengthBytes);
        BinaryPrimitives.WriteUInt16BigEndian(information.AsSpan(8), (ushort)export.GetFlags(_isStructured, _isExtended));
        _replies.AddInfo(option, InfoType.Export, information);

        byte[] sizes = new byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(sizes, (uint)export.MinimumBlockBytes);
        BinaryPrimitives.WriteUInt32BigEndian(
            sizes.AsSpan(4), (uint)Math.Max(NbdLimits.PreferredBlockBytes, export.MinimumBlockBytes));
        BinaryPrimitives.WriteUInt32BigEndian(sizes.AsSpan(8), NbdLimits.MaximumPayloadBytes);
        _replies.AddInfo(option, InfoType.BlockSize, sizes);

        if (wantsName)
        {
            _replies.AddInfo(option, InfoType.Name, Encoding.UTF8.GetBytes(export.Name));
        }

        if (wantsDescription && export.Description.Length != 0)
        {
            _replies.AddInfo(option, InfoType.Description, Encoding.UTF8.GetBytes(export.Description));
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
}
