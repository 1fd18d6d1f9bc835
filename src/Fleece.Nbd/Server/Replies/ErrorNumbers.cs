// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Replies;

/// <summary>The error numbers that a client of an export gets for the engine's kinds of errors; docs/errors.md lists them.</summary>
internal static class ErrorNumbers
{
    /// <summary>The number of a kind: <see cref="NbdError.Io"/> for those that say only that the storage failed.</summary>
    public static NbdError Of(string kind) => kind switch
    {
        BlockErrors.Unsupported => NbdError.NotSupported,
        BlockErrors.OutOfRange or BlockErrors.InvalidRange or BlockErrors.Misaligned or BlockErrors.InvalidArgument => NbdError.Invalid,
        BlockErrors.ReadOnly or BlockErrors.Denied or BlockErrors.Consumed or BlockErrors.Broken => NbdError.NotPermitted,
        BlockErrors.NoSpace or BlockErrors.TempFull or BlockErrors.TempLimitReached or BlockErrors.SessionLogFull => NbdError.NoSpace,
        BlockErrors.Stopped or BlockErrors.Closed => NbdError.Shutdown,
        _ => NbdError.Io,
    };
}
