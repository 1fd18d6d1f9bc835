// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Chain;

/// <summary>Stores sectors over a parent: those that new bytes cover in part are filled up from it.</summary>
/// <remarks>
/// <para>Threading. The caller holds a lock that other stores of the same sectors take too, until the image says that they are stored: else
/// what was filled up would land on bytes that another request has stored there meanwhile.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="parent">The parent; null for zeros.</param>
/// <param name="sectorBytes">The unit that comes from one image as a whole, a power of two.</param>
internal sealed class ParentSectors(IContainerFile file, ParentImage? parent, int sectorBytes)
{
    /// <summary>The whole sectors around a range of the disk.</summary>
    public BlockRange Around(long offsetBytes, long lengthBytes)
    {
        long mask = sectorBytes - 1;
        return BlockRange.FromEnds(offsetBytes & ~mask, (offsetBytes + lengthBytes + mask) & ~mask);
    }

    /// <summary>Stores bytes, and the rest of the sectors that they lie in.</summary>
    /// <param name="fileOffsetBytes">Where the first byte goes in the file.</param>
    /// <param name="offsetBytes">Where it is on the disk.</param>
    /// <param name="lengthBytes">At least 1.</param>
    /// <param name="data">The bytes; empty for zeros.</param>
    public void Store(long fileOffsetBytes, long offsetBytes, long lengthBytes, ReadOnlySpan<byte> data)
    {
        while (lengthBytes != 0)
        {
            int skippedBytes = (int)(offsetBytes & (sectorBytes - 1));
            bool isWhole = skippedBytes == 0 && lengthBytes >= sectorBytes;
            long partBytes = isWhole ? lengthBytes & -sectorBytes : Math.Min(lengthBytes, sectorBytes - skippedBytes);
            ReadOnlySpan<byte> part = data.IsEmpty ? data : data[..(int)partBytes];
            if (!isWhole)
            {
                StorePart(fileOffsetBytes - skippedBytes, offsetBytes - skippedBytes, skippedBytes, (int)partBytes, part);
            }
            else if (data.IsEmpty)
            {
                file.Zero(fileOffsetBytes, partBytes);
            }
            else
            {
                file.Write(fileOffsetBytes, part);
            }

            fileOffsetBytes += partBytes;
            offsetBytes += partBytes;
            lengthBytes -= partBytes;
            data = data[part.Length..];
        }
    }

    private void StorePart(long fileOffsetBytes, long sectorOffsetBytes, int skippedBytes, int lengthBytes, ReadOnlySpan<byte> data)
    {
        Span<byte> sector = stackalloc byte[sectorBytes];
        sector.Clear();
        parent?.Read(sectorOffsetBytes, sector);
        sector.Slice(skippedBytes, lengthBytes).Clear();
        data.CopyTo(sector[skippedBytes..]);
        file.Write(fileOffsetBytes, sector);
    }
}
