// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Images;

/// <summary>A dirty bitmap with its bits, on its way into an image or out of it.</summary>
internal sealed record StoredBitmap
{
    /// <summary>Its name, unique in the image.</summary>
    public required string Name { get; init; }

    /// <summary>Bytes of the disk for one bit.</summary>
    public required long GranularityBytes { get; init; }

    /// <summary>Changes are to be recorded in it.</summary>
    public required bool IsEnabled { get; init; }

    /// <summary>Why the image's own bits can't be trusted, as a sentence; null when they can.</summary>
    public string? Fault { get; init; }

    /// <summary>The bits; null where they can't be trusted.</summary>
    public DirtyBitmap? Bits { get; init; }
}

/// <summary>The dirty bitmaps of an image whose format keeps them.</summary>
/// <remarks>Threading. As each member says. Errors are <see cref="BlockException"/>.</remarks>
internal interface IBitmapImage
{
    /// <summary>True when the image itself can hold bitmaps; false when its version has no place for them.</summary>
    bool HasRoomForBitmaps { get; }

    /// <summary>What the user should hear of the image's bitmaps beside what <see cref="ReadBitmaps"/> answers; null for nothing.</summary>
    string? BitmapsNote { get; }

    /// <summary>Reads the bitmaps. Before the first change only.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    IReadOnlyList<StoredBitmap> ReadBitmaps();

    /// <summary>
    /// Says durably that the caller keeps the bitmaps from now on: until <see cref="WriteBitmaps"/> the image's own are marked as in use,
    /// and no program takes them for true. Before the first change only; without it the first change gives the bitmaps up.
    /// </summary>
    void KeepBitmaps();

    /// <summary>Replaces the bitmaps, durably. While no request runs.</summary>
    void WriteBitmaps(IReadOnlyList<StoredBitmap> bitmaps);
}
