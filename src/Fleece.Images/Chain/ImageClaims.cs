// SPDX-License-Identifier: MIT
namespace Fleece.Images.Chain;

/// <summary>The sizes that an image's header claims, told before anything is sized by them.</summary>
/// <param name="DiskBytes">Size of the disk.</param>
/// <param name="TableBytes">Memory that the tables take which an open image holds whole.</param>
internal readonly record struct ImageClaims(long DiskBytes, long TableBytes);
