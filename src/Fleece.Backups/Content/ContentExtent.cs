// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Content;

/// <summary>A range that a backup holds: data with its digest, or zeros.</summary>
/// <param name="Range">Where on the disk. Data lies within one extent of <see cref="ExtentBytes"/>; zeros may be longer.</param>
/// <param name="Digest">SHA-256 of the data (FIPS 180-4); null for zeros.</param>
internal sealed record ContentExtent(BlockRange Range, byte[]? Digest)
{
    /// <summary>Digests never reach over a multiple of this: large enough for manifests to stay small, small enough to say where
    /// damage is and to be checked in memory.</summary>
    public const int ExtentBytes = 4 * 1024 * 1024;

    /// <summary>Length of a digest.</summary>
    public const int DigestBytes = 32;

    /// <summary>True for a range of zeros.</summary>
    public bool IsZero => Digest is null;
}
