// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Chain;

/// <summary>A parent of an open image, which others read and nothing writes while its child is open.</summary>
/// <param name="Path">The file.</param>
/// <param name="LengthBytes">Size of its disk, which may be another than its child's.</param>
/// <param name="Bitmaps">Its own dirty bitmaps, to be read only; null where its format or version has no place for them.</param>
internal sealed record ParentOfImage(string Path, long LengthBytes, IBitmapImage? Bitmaps);

/// <summary>The parents of an open image.</summary>
internal static class ParentImages
{
    /// <summary>From the nearest to the last; none for an image without parents, and for an export.</summary>
    /// <param name="image">A node that <see cref="Image.OpenAsync"/> gave. The parents belong to it.</param>
    public static IEnumerable<ParentOfImage> Of(IBlockNode image)
    {
        for (IImageLayer? parent = (image as IImageLayer)?.Parent; parent is not null; parent = parent.Parent)
        {
            IBitmapImage? bitmaps = (parent as IBitmapHolder)?.Bitmaps;
            yield return new ParentOfImage(
                parent.Path, parent.LengthBytes, bitmaps is { HasRoomForBitmaps: true } ? bitmaps : null);
        }
    }
}
