// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>A node over an image, whose format may keep dirty bitmaps.</summary>
internal interface IBitmapHolder
{
    /// <summary>The image's bitmaps; null where its format keeps none.</summary>
    IBitmapImage? Bitmaps { get; }
}
