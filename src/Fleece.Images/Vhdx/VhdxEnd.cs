// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Where an image ends on a device that is longer: behind the last MiB that is in use.</summary>
/// <remarks>A log that waits to be replayed names the length of the file it was written for, which may be longer, so such an image takes
/// the whole device; so does one whose BAT is too long to be scanned.</remarks>
internal static class VhdxEnd
{
    /// <inheritdoc cref="Chain.IImageDriver.FindEnd"/>
    public static long Find(IContainerFile file)
    {
        VhdxStructure structure = VhdxStructure.Read(file);
        return structure.Replayed is null && structure.Metadata.BatEntryCount * sizeof(ulong) <= VhdxLimits.ScannedBatBytes
            ? new BatScan(file, structure, fault => throw fault).EndBytes
            : file.GetLength();
    }
}
