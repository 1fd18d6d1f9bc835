// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>What a write asks beyond storing its bytes.</summary>
[Flags]
public enum WriteFlags
{
    /// <summary>Nothing more.</summary>
    None = 0,

    /// <summary>The written bytes are durable when the operation completes (FUA).</summary>
    ForceUnitAccess = 1,

    /// <summary>
    /// Only for zeroing: fail with <see cref="BlockErrors.Unsupported"/>, changing nothing, where that costs as much as
    /// writing the zeros. Other operations ignore it.
    /// </summary>
    OnlyIfFast = 2,
}
