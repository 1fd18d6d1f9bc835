// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What of a snapshot can be read, in this process or another one.</summary>
/// <remarks>Threading. All members are safe from any thread. A range that was refused stays refused.</remarks>
internal interface ISnapshotMap
{
    /// <summary>Whether the snapshot can still be read.</summary>
    SessionState State { get; }

    /// <summary>The first readable range at or behind an offset, before an end; empty when there is none.</summary>
    BlockRange NextReadable(long offsetBytes, long endBytes);

    /// <summary>The run that starts at an offset and what the snapshot would do with it.</summary>
    SnapshotRun GetRun(long offsetBytes);
}
