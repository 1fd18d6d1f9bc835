// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Where an image ends on a device that is longer.</summary>
/// <remarks>
/// A dynamic image is told by the copy of its footer at the start, and ends with a footer behind its last block, where QEMU puts it too.
/// Where there is none, because a program died while the image grew, it ends behind that block, and the next writer puts a footer there.
/// A fixed image has its footer at the end and nothing at the start, so its device is as long as its file was.
/// </remarks>
internal static class VhdEnd
{
    /// <inheritdoc cref="Chain.IImageDriver.FindEnd"/>
    public static long Find(IContainerFile file)
    {
        VhdFooters footers = VhdFooters.Read(file);
        if (footers.Footer.Type == VhdDiskType.Fixed)
        {
            return file.GetLength();
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        long blocksEndBytes = BlockRange.RoundUp(
            BlockAllocator.FindEnd(header, VhdBlockTable.Read(file, header)).EndBytes, VhdLimits.SectorBytes);
        Span<byte> trailer = stackalloc byte[VhdFooter.LengthBytes];
        file.Read(blocksEndBytes, trailer);
        return VhdFooter.TryParse(trailer, out _) is not null ? blocksEndBytes + VhdFooter.LengthBytes
            : footers.TrailerOffsetBytes is not null ? file.GetLength()
            : blocksEndBytes;
    }
}
