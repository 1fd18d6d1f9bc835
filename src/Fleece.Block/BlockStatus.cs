// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>What a node knows of a range without reading it.</summary>
public enum BlockStatus
{
    /// <summary>This layer stores bytes, which may happen to be zero.</summary>
    Data,

    /// <summary>This layer says the range reads as zeros.</summary>
    Zero,

    /// <summary>This layer stores nothing here; with no layer beneath, the range reads as zeros.</summary>
    Unallocated,
}

/// <summary>A run of bytes of one status, starting where the query started.</summary>
/// <param name="Status">The status of every byte of the run.</param>
/// <param name="LengthBytes">At least 1, at most what was asked.</param>
public readonly record struct BlockStatusRun(BlockStatus Status, long LengthBytes)
{
    /// <summary>True when the bytes are known to read as zeros without reading them.</summary>
    public bool ReadsAsZero => Status != BlockStatus.Data;
}
