// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>The fixed shape of a node.</summary>
/// <param name="LengthBytes">Size of the disk as its users see it, at least 0.</param>
/// <param name="RequestAlignmentBytes">
/// Offsets and lengths of requests are multiples of this power of two; 1 means any byte range.
/// </param>
/// <param name="IsReadOnly">Writes, zeroes and discards fail with <see cref="BlockErrors.ReadOnly"/>.</param>
public readonly record struct BlockGeometry(
    long LengthBytes, int RequestAlignmentBytes = 1, bool IsReadOnly = false);
