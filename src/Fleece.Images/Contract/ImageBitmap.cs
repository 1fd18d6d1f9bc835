// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images;

/// <summary>A dirty bitmap that is stored in an image.</summary>
/// <param name="Name">Unique in the image.</param>
/// <param name="GranularitySizeBytes">Bytes of the disk that one bit stands for, a power of two.</param>
/// <param name="IsEnabled">True when every program that writes to the image must record in it.</param>
/// <param name="IsInUse">True when a program had it open and never put it back: its bits can't be trusted.</param>
public sealed record ImageBitmap(string Name, long GranularitySizeBytes, bool IsEnabled, bool IsInUse)
{
    /// <summary>The name, printable.</summary>
    public string Name { get; init; } = PrintableText.Of(Name);
}
