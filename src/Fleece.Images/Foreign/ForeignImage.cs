// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Foreign;

/// <summary>An open image of a format that Fleece has no driver for.</summary>
/// <param name="Node">Its disk, read-only; the caller owns it.</param>
/// <param name="Type">How it uses its files.</param>
internal sealed record ForeignImage(IBlockNode Node, ImageType Type);

/// <summary>What an image of such a format says of itself.</summary>
/// <param name="DiskBytes">Size of its disk.</param>
/// <param name="Type">How it uses its files.</param>
internal sealed record ForeignDescription(long DiskBytes, ImageType Type);
