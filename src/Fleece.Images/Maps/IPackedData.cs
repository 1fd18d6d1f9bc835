// SPDX-License-Identifier: MIT
namespace Fleece.Images.Maps;

/// <summary>Reads what an image stores in a form of its own, such as compressed.</summary>
/// <remarks>Threading. Any thread, within a request that is counted in <see cref="IImageMap.Epochs"/>.</remarks>
internal interface IPackedData
{
    /// <summary>Reads bytes of a packed run.</summary>
    /// <param name="run">The run at the offset.</param>
    /// <param name="offsetBytes">Within the disk.</param>
    /// <param name="buffer">To be filled; not longer than the run.</param>
    void Read(in MappedRun run, long offsetBytes, Span<byte> buffer);

    /// <summary>Has the system begin to read the stored form of a run into its cache.</summary>
    void ReadAhead(in MappedRun run);
}
