// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Maps;

/// <summary>The map of an image: which bytes of its disk lie where. Each format has its own; <see cref="Chain.ImageNode"/> makes a disk
/// of it.</summary>
/// <remarks>
/// <para>Threading. <see cref="Map"/> from any thread, on the calling thread. Places that they name stay what
/// they are as long as the caller is counted in <see cref="Epochs"/>.</para>
/// <para>Errors. Corrupt, where a table's entry can't be right: only requests that need it fail. Read errors of tables.</para>
/// <para>Ownership. The map owns what it opens besides the image's file and its parent; <see cref="IDisposable.Dispose"/>, when no request
/// runs, and after the last write-back.</para>
/// </remarks>
internal interface IImageMap : IDisposable
{
    ImageFormat Format { get; }

    /// <summary>Size of the disk.</summary>
    long SizeBytes { get; }

    /// <summary>The file that runs of data lie in: the image's own, or its external data file.</summary>
    IContainerFile DataFile { get; }

    /// <summary>True when the holes that the file system has in data are to be told as zeros: for formats that free storage in no other
    /// way.</summary>
    bool HasHoles { get; }

    /// <summary>Runs that one status query looks at; the caller asks again from where the answer ended.</summary>
    int RunsPerStatusQuery { get; }

    /// <summary>Counts the requests that may use what <see cref="Map"/> has told them.</summary>
    Epochs Epochs { get; }

    /// <summary>Reads packed runs; null for a format that has none.</summary>
    IPackedData? Packed { get; }

    /// <summary>The part that changes the map; null for an image that is open read-only.</summary>
    IImageChanges? Changes { get; }

    /// <summary>The run at an offset of the disk, as far as one look at the tables tells it.</summary>
    /// <param name="offsetBytes">Within the disk.</param>
    /// <param name="lengthBytes">At least 1; the run is not longer.</param>
    /// <param name="isContiguous">True when data must be contiguous in the file too; false for a question of the kind alone.</param>
    MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous);
}
