// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>The operations of a block node.</summary>
public enum BlockOperationKind
{
    /// <summary>ReadAsync.</summary>
    Read,

    /// <summary>WriteAsync.</summary>
    Write,

    /// <summary>WriteZeroesAsync.</summary>
    WriteZeroes,

    /// <summary>DiscardAsync.</summary>
    Discard,

    /// <summary>FlushAsync.</summary>
    Flush,

    /// <summary>GetStatusAsync.</summary>
    Status,
}

/// <summary>One operation as a double sees it.</summary>
/// <param name="Order">0 for the first operation that reached the double, then counting up.</param>
/// <param name="Kind">Which operation.</param>
/// <param name="OffsetBytes">Where; 0 for a flush.</param>
/// <param name="LengthBytes">How much; 0 for a flush.</param>
/// <param name="Flags">The flags of a write.</param>
public readonly record struct BlockOperation(
    long Order,
    BlockOperationKind Kind,
    long OffsetBytes = 0,
    long LengthBytes = 0,
    WriteFlags Flags = WriteFlags.None)
{
    /// <summary>The range the operation is about; empty for a flush.</summary>
    public BlockRange Range => new(OffsetBytes, LengthBytes);

    /// <summary>True for the operations that change content.</summary>
    public bool IsChange =>
        Kind is BlockOperationKind.Write or BlockOperationKind.WriteZeroes or BlockOperationKind.Discard;
}
