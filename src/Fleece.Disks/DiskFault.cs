// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks;

/// <summary>What an administrator has to hear of a disk, because it loses a backup or stops a guest.</summary>
internal enum DiskFaultKind
{
    /// <summary>The disk has failed.</summary>
    DiskFailed,

    /// <summary>A session broke: its snapshot is lost.</summary>
    SessionBroke,

    /// <summary>Guests' writes are refused, because their old data can't be kept and the session is not to break for it.</summary>
    WritesRefused,
}

/// <summary>A fault, as it happens.</summary>
/// <param name="Kind">What has happened.</param>
/// <param name="Subject">The disk's name, or the session's id.</param>
/// <param name="Cause">Why.</param>
internal sealed record DiskFault(DiskFaultKind Kind, string Subject, BlockException Cause);
