// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>Refusals and failures in a handshake, and breaches of the protocol at any time, as the engine's exceptions.</summary>
internal static class ServerErrors
{
    /// <summary>The server broke the protocol: what came, and what the specification has there.</summary>
    public static BlockException Violation(NbdUri uri, string got, string expected) =>
        new(
            NbdErrors.ProtocolViolated,
            $"The NBD server at '{uri}' broke the protocol: it sent {got}, and {expected} was expected. Nothing more is accepted from it.",
            uri.ToString());

    /// <summary>The connection ended before the handshake did, or never began.</summary>
    public static BlockException ConnectFailed(NbdUri uri, string reason, Exception? cause = null) =>
        new(
            NbdErrors.ConnectFailed,
            $"Can't connect to '{uri}': {reason}",
            uri.ToString(),
            operation: "connect",
            cause: cause);

    /// <summary>The server refused an option of the handshake.</summary>
    public static BlockException OptionRefused(NbdUri uri, NbdOption option, OptionReply reply, ReadOnlySpan<byte> text)
    {
        string said = Quote(Encoding.UTF8.GetString(text));
        (string kind, string message) = reply switch
        {
            OptionReply.ErrorTlsRequired => (
                NbdErrors.TlsFailed, $"The NBD server at '{uri}' demands TLS{said}; use an nbds address."),
            OptionReply.ErrorUnknown => (NbdErrors.ExportUnknown, $"There is no export '{uri.ExportName}' at '{uri}'{said}."),
            OptionReply.ErrorShutdown => (NbdErrors.ConnectFailed, $"The NBD server at '{uri}' is shutting down{said}."),
            OptionReply.ErrorExtendedHeadersRequired or OptionReply.ErrorBlockSizeRequired => (
                BlockErrors.Unsupported, $"The NBD server at '{uri}' demands {reply} beyond what it accepted{said}."),
            _ => (
                BlockErrors.PermissionDenied,
                $"The NBD server at '{uri}' refuses {option} with {NameOf(reply)}{said}."),
        };
        return new BlockException(kind, message, uri.ToString(), operation: "connect");
    }

    /// <summary>A server's text in brackets, or nothing when it said nothing.</summary>
    /// <remarks>The exception makes it printable.</remarks>
    public static string Quote(string text)
    {
        string shown = text.Length <= NbdLimits.MaximumStringBytes ? text : text[..NbdLimits.MaximumStringBytes];
        return shown.Length == 0 ? string.Empty : $" (\"{shown}\")";
    }

    private static string NameOf(OptionReply reply) =>
        Enum.IsDefined(reply) ? reply.ToString() : string.Create(CultureInfo.InvariantCulture, $"reply 0x{(uint)reply:x8}");
}
