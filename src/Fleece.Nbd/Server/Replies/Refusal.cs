// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Replies;

/// <summary>Why a request fails; the default, with <see cref="NbdError.None"/>, says that it succeeds.</summary>
/// <param name="Error">The number that the client gets.</param>
/// <param name="Message">The text.</param>
/// <param name="Kind">The engine's kind of error; null where the request itself is refused.</param>
internal readonly record struct Refusal(NbdError Error, string Message, string? Kind = null)
{
    /// <summary>The kind that the failure is counted as; null for a success.</summary>
    public string? Label => Error == NbdError.None ? null : Kind ?? Error.ToString();

    /// <summary>The refusal that answers a request which failed while it was served.</summary>
    public static Refusal From(Exception failure, in RequestHeader request)
    {
        if (failure is not BlockException e)
        {
            return new Refusal(NbdError.Io, PrintableText.Of($"Internal error: {failure.Message}"));
        }

        NbdError error = ErrorNumbers.Of(e.Kind);

        // The protocol keeps this number for a zeroing that had to be fast.
        bool mayBeUnsupported = (request.Flags & CommandFlags.FastZero) != 0;
        return new Refusal(error == NbdError.NotSupported && !mayBeUnsupported ? NbdError.Invalid : error, e.Message, e.Kind);
    }
}
