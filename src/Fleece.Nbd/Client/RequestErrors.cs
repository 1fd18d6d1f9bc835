// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>The ways in which a request fails, as the engine's exceptions.</summary>
internal static class RequestErrors
{
    /// <summary>The connection ended and was not, or may not be, made again.</summary>
    public static BlockException ConnectionLost(NbdUri uri, string reason, Exception? cause = null) =>
        new(NbdErrors.ConnectionLost, $"The connection to '{uri}' is lost: {reason}", uri.ToString(), cause: cause);

    /// <summary>The server failed a request.</summary>
    public static BlockException RequestFailed(NbdUri uri, NbdRequest request, NbdError error, string text, NbdNodeOptions options)
    {
        long? offsetBytes = request.Command == NbdCommand.Flush ? null : request.OffsetBytes;
        if (options.ReadsKinds && KindTexts.TrySplit(text, out string told, out string message))
        {
            return new BlockException(told, message, offsetBytes: offsetBytes, operation: NameOf(request.Command));
        }

        (string kind, string number) = error switch
        {
            NbdError.NotPermitted => (Denial(request.Command), "EPERM"),
            NbdError.NoSpace => (BlockErrors.NoSpace, "ENOSPC"),
            NbdError.Shutdown => (BlockErrors.Closed, "ESHUTDOWN"),
            NbdError.NotSupported => (BlockErrors.Unsupported, "ENOTSUP"),
            NbdError.Io => (BlockErrors.IoFailed, "EIO"),
            NbdError.OutOfMemory => (BlockErrors.IoFailed, "ENOMEM"),
            NbdError.Invalid => (options.InvalidKind, "EINVAL"),
            NbdError.Overflow => (BlockErrors.IoFailed, "EOVERFLOW"),
            _ => (BlockErrors.IoFailed, string.Create(CultureInfo.InvariantCulture, $"error {(uint)error}")),
        };
        string operation = NameOf(request.Command);
        string range = request.Command == NbdCommand.Flush
            ? string.Empty
            : string.Create(CultureInfo.InvariantCulture, $" {request.LengthBytes} bytes at offset {request.OffsetBytes} of");
        return new BlockException(
            kind,
            $"Cannot {operation}{range} '{uri}': the server answers {number}{ServerErrors.Quote(text)}.",
            uri.ToString(),
            offsetBytes,
            operation);
    }

    private static string NameOf(NbdCommand command) => command switch
    {
        NbdCommand.Read => "read",
        NbdCommand.Write => "write",
        NbdCommand.WriteZeroes => "write zeros to",
        NbdCommand.Trim => "discard",
        NbdCommand.Flush => "flush",
        NbdCommand.BlockStatus => "query",
        _ => command.ToString(),
    };

    private static string Denial(NbdCommand command) => command switch
    {
        NbdCommand.Write or NbdCommand.WriteZeroes or NbdCommand.Trim => BlockErrors.ReadOnly,
        NbdCommand.Flush => BlockErrors.IoFailed,
        _ => BlockErrors.Denied,
    };
}
