// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What a snapshot does with a run of the disk.</summary>
public enum SnapshotRunState
{
    /// <summary>Read from the active disk: the guest has not written here since the instant.</summary>
    Untouched,

    /// <summary>Read from temp: the guest has written here, or is about to.</summary>
    Copied,

    /// <summary>Refused: the session was limited to other ranges when it started.</summary>
    Denied,

    /// <summary>Refused: it was read, confirmed and discarded.</summary>
    Consumed,
}

/// <summary>A run of the snapshot with one state.</summary>
/// <param name="OffsetBytes">First byte.</param>
/// <param name="LengthBytes">Number of bytes, at least 1.</param>
/// <param name="State">What the snapshot does with it.</param>
public readonly record struct SnapshotRun(long OffsetBytes, long LengthBytes, SnapshotRunState State)
{
    /// <summary>True when the snapshot can be read here.</summary>
    public bool IsReadable => State is SnapshotRunState.Untouched or SnapshotRunState.Copied;
}
