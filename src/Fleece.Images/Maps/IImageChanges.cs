// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Maps;

/// <summary>Changes the map of an image that is open for writing.</summary>
/// <remarks>
/// <para>The node writes in place wherever the map lets it, and calls on this only where the map must change. Changes are kept in memory
/// until <see cref="WriteBack"/> takes them to the disk. A change that finds no room there says so by returning false, and has done nothing
/// then: the node writes back and asks again.</para>
/// <para>Threading. Any thread; storing and zeroing within a request that is counted in <see cref="IImageMap.Epochs"/>.</para>
/// <para>Errors. NoSpace and other failures of the request, which change nothing else; the first failure after which nothing is changed any
/// more (rule R7).</para>
/// </remarks>
internal interface IImageChanges
{
    /// <summary>Takes changes to the disk; null where none are kept in memory, so that a flush of the file is enough.</summary>
    StagedWriteBack? WriteBack { get; }

    /// <summary>Has the first failure after which nothing is changed any more; null where no failure forbids that.</summary>
    Poison? Poison { get; }

    /// <summary>True when a request should write back before it changes more.</summary>
    bool IsWriteBackDue { get; }

    /// <summary>Drops whole units; null for a format that can't.</summary>
    IUnitDrops? Drops { get; }

    /// <summary>The unit in which discards zero data that stays allocated, which frees storage of the file system, a power of two; 0 when
    /// they leave it alone.</summary>
    long PunchBytes { get; }

    /// <summary>True when <see cref="TryZero"/> is to be asked for data that could be zeroed in place, too: a table may say so.</summary>
    bool SaysPartialZeroes { get; }

    /// <summary>Makes the image ready for a change: before the first one, marks in its headers.</summary>
    void Prepare();

    /// <summary>Stores bytes where they can't be written in place.</summary>
    /// <param name="offsetBytes">Within the disk.</param>
    /// <param name="data">At least one byte.</param>
    /// <param name="doneBytes">How many are stored; 0 when the map has to be looked at again.</param>
    /// <returns>False when a write-back must make room first; then nothing is changed.</returns>
    bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes);

    /// <summary>Makes a range read as zeros where it can't be zeroed in place.</summary>
    /// <param name="offsetBytes">Within the disk.</param>
    /// <param name="run">The run there, at most as long as the range; it does not read as zeros by itself.</param>
    /// <param name="doneBytes">How many bytes are done; 0 when the map has to be looked at again.</param>
    /// <returns>As <see cref="TryStore"/>.</returns>
    bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes);
}
