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

    /// <summary>The session was left by an earlier process and can't be resumed; its temp image is kept until it is discarded.</summary>
    Lost,
}
