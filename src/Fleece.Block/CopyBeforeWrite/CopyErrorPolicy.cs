// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Who loses when old data can't be copied to temp.</summary>
public enum CopyErrorPolicy
{
    /// <summary>The guest's write goes on, the session loses its point in time.</summary>
    BreakSnapshot,

    /// <summary>The guest's write fails with <see cref="BlockErrors.CopyFailed"/>, <see cref="BlockErrors.CopyTimedOut"/>,
    /// <see cref="BlockErrors.TempFull"/>, <see cref="BlockErrors.TempLimitReached"/> or <see cref="BlockErrors.SessionLogFull"/>, and the
    /// session stays whole.</summary>
    BreakGuestWrite,
}
