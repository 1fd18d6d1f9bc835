// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Manifests;

/// <summary>How far a backup is on its way out of the repository.</summary>
internal enum PointState
{
    /// <summary>It stays.</summary>
    Kept,

    /// <summary>What its successor holds is being written into its file. It can't be restored any more; its successors can.</summary>
    Merging,

    /// <summary>Its file holds its successor's content too, and is to take the successor's name.</summary>
    Merged,
}
