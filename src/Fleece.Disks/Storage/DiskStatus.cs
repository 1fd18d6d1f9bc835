// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>Whether a disk's storage keeps what it is given.</summary>
public enum DiskStatus
{
    /// <summary>No flush has failed since the disk was mounted.</summary>
    Ok,

    /// <summary>A flush has failed, so writes may be lost. It stays so until the disk is mounted again.</summary>
    Failed,
}
