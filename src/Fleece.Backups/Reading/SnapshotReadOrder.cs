// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Reading;

/// <summary>The order in which a snapshot is read.</summary>
public enum SnapshotReadOrder
{
    /// <summary>From the disk's start to its end.</summary>
    Sequential,

    /// <summary>First what the guest is about to overwrite, by where it wrote last; the rest from the disk's start to its end.</summary>
    AtRiskFirst,
}
