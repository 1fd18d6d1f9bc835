// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Whether a session can still be read.</summary>
public enum SessionState
{
    /// <summary>The point in time is whole.</summary>
    Active,

    /// <summary>The point in time is lost.</summary>
    Broken,

    /// <summary>The session has ended.</summary>
    Stopped,
}
