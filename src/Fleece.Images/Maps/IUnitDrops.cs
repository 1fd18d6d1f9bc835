// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Maps;

/// <summary>Takes the places of whole units of an image away, so that they read as zeros.</summary>
/// <remarks>Threading. Any thread, outside of requests that are counted in <see cref="IImageMap.Epochs"/>.</remarks>
internal interface IUnitDrops
{
    /// <summary>The unit, a power of two.</summary>
    long UnitBytes { get; }

    /// <summary>Nothing before this offset can be dropped.</summary>
    long FirstBytes { get; }

    /// <summary>True when zeros for less than a unit may cost a write each.</summary>
    bool ArePartsSlow { get; }

    /// <summary>Drops units from the start of a range on, as many as one hold of the metadata lock may take.</summary>
    /// <param name="range">Whole units; the last one may end with the disk.</param>
    /// <param name="isDiscard">True when the content means nothing any more, false for zeros.</param>
    /// <param name="doneBytes">How many bytes are done; it may reach behind the end of the disk.</param>
    /// <returns>False when a write-back must make room first; then nothing is changed.</returns>
    bool TryDrop(BlockRange range, bool isDiscard, out long doneBytes);

    /// <summary>Makes dropped places free that nothing uses any more.</summary>
    void Reclaim();
}
