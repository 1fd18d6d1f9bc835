// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Who loses when old data can't be copied to temp.</summary>
public enum CopyErrorPolicy
{
    /// <summary>The guest's write goes on, the session loses its point in time.</summary>
    BreakSnapshot,

    /// <summary>The guest's write fails with <see cref="BlockErrorKind.CopyFailed"/>, <see cref="BlockErrorKind.CopyTimedOut"/>,
    /// <see cref="BlockErrorKind.TempFull"/> or <see cref="BlockErrorKind.TempLimitReached"/>, and the session stays whole.</summary>
    BreakGuestWrite,
}
