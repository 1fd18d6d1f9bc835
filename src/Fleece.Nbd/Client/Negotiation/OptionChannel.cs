// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Tls;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>Options and their replies over a stream that is still shaking hands.</summary>
/// <remarks>It never reads a byte further than the message it was asked for, so the stream can be handed on at any time.</remarks>
internal sealed class OptionChannel(Stream stream, NbdUri uri)
{
    private bool _hasRead;

    /// <summary>Sends an option with its data.</summary>
    public ValueTask SendAsync(NbdOption option, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        byte[] message = new byte[OptionHeader.SizeBytes + data.Length];
        new OptionHeader(option, (uint)data.Length).Write(message);
        data.Span.CopyTo(message.AsSpan(OptionHeader.SizeBytes));
        return SendRawAsync(message, cancellationToken);
    }

    /// <summary>Sends bytes that are no option.</summary>
    public async ValueTask SendRawAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            await stream.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception cause) when (cause is IOException or SocketException)
        {
            throw Ended("while options were sent", cause);
        }
    }

    /// <summary>Reads one reply to an option.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.ProtocolViolated"/>: the reply is malformed, answers another
    /// option, or is longer than anyone needs.</exception>
    public async ValueTask<(OptionReply Type, byte[] Data)> ReadReplyAsync(NbdOption option, CancellationToken cancellationToken)
    {
        string when = $"before it answered {option}";
        byte[] bytes = await ReadAsync(OptionReplyHeader.SizeBytes, when, cancellationToken).ConfigureAwait(false);
        if (!OptionReplyHeader.TryRead(bytes, out OptionReplyHeader header))
        {
            throw Violation($"0x{Convert.ToHexString(bytes, 0, sizeof(ulong))}", $"the magic of a reply to {option}");
        }

        if (header.Option != option)
        {
            throw Violation($"a reply to option {(uint)header.Option}", $"one to {option}");
        }

        if (header.Length > NbdLimits.MaximumOptionReplyBytes)
        {
            throw Violation(
                $"a reply of {header.Length} bytes to {option}", $"one of at most {NbdLimits.MaximumOptionReplyBytes} bytes");
        }

        return (header.Type, await ReadAsync((int)header.Length, when, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Reads exactly that many bytes.</summary>
    /// <param name="lengthBytes">A number that has been checked.</param>
    /// <param name="when">When an end of the connection would happen, for the message.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async ValueTask<byte[]> ReadAsync(int lengthBytes, string when, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[lengthBytes];
        try
        {
            await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
            _hasRead = true;
            return bytes;
        }
        catch (Exception cause) when (cause is IOException or SocketException)
        {
            throw Ended(when, cause);
        }
    }

    /// <summary>The server broke the protocol.</summary>
    public BlockException Violation(FormattableString got, string expected) =>
        ServerErrors.Violation(uri, got.ToString(CultureInfo.InvariantCulture), expected);

    // TLS 1.3 lets a client begin before the server has looked at its certificate, and a server that refuses it then hangs up, with or
    // without saying so. Nothing else ends a connection there, bar accidents.
    private BlockException Ended(string when, Exception cause) =>
        stream is SslStream && !_hasRead
            ? TlsHandshake.ClientFailed(uri, cause)
            : ServerErrors.ConnectFailed(uri, $"the server ended the connection {when}.", cause);
}
