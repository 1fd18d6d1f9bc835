// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Offline;

/// <summary>Whether two disks hold the same bytes.</summary>
/// <param name="Path">The one.</param>
/// <param name="DifferencePath">The other.</param>
/// <param name="AreEqual">
/// True when every byte is the same; what the longer disk has behind the end of the shorter one must be zero.
/// </param>
/// <param name="SizeBytes">Size of the one in bytes.</param>
/// <param name="DifferenceSizeBytes">Size of the other in bytes.</param>
/// <param name="OffsetBytes">Where the first range that differs begins; null when there is none.</param>
/// <param name="LengthBytes">How far it goes without an equal sector of 512 bytes in between; null when there is none.</param>
public sealed record ImageComparison(
    string Path,
    string DifferencePath,
    bool AreEqual,
    long SizeBytes,
    long DifferenceSizeBytes,
    long? OffsetBytes,
    long? LengthBytes);
