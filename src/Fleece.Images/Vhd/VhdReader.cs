// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Reads a dynamic or differencing VHD disk, and tells what is stored of it.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="header">Its header.</param>
/// <param name="metadata">Its tables.</param>
/// <param name="parent">What shows through where nothing is stored; null for zeros.</param>
internal sealed class VhdReader(IContainerFile file, VhdHeader header, VhdMetadata metadata, ParentImage? parent)
{
    /// <summary>Fills the buffer.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            Span<byte> part = buffer[..(int)Math.Min(buffer.Length, header.BytesLeftInBlock(offsetBytes))];
            ReadInBlock(offsetBytes, part);
            offsetBytes += part.Length;
            buffer = buffer[part.Length..];
        }
    }

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    /// <remarks>In a block of which the parent still holds sectors, those are left to the read.</remarks>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            long partBytes = Math.Min(lengthBytes, header.BytesLeftInBlock(offsetBytes));
            uint sector = metadata.Find(header.BlockOf(offsetBytes));
            if (sector != VhdBlockTable.Free)
            {
                file.ReadAhead(metadata.DataOffsetBytes(sector) + header.InBlock(offsetBytes), partBytes);
            }
            else
            {
                parent?.ReadAhead(offsetBytes, partBytes);
            }

            offsetBytes += partBytes;
            lengthBytes -= partBytes;
        }
    }

    /// <summary>The status at an offset, and how far one image decides it.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        long runBytes = FindRun(offsetBytes, lengthBytes, out uint sector);
        if (sector == VhdBlockTable.Free)
        {
            return GetStatusBeneath(offsetBytes, runBytes);
        }

        // Zeroed and discarded ranges are holes of the file system.
        return VhdExtents.Find(file, new BlockRange(metadata.DataOffsetBytes(sector) + header.InBlock(offsetBytes), runBytes));
    }

    /// <inheritdoc cref="IImageLayer.GetDepth"/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        long runBytes = FindRun(offsetBytes, lengthBytes, out uint sector);
        return !metadata.IsDifferencing || sector != VhdBlockTable.Free
            ? new DepthRun(1, runBytes)
            : parent?.GetDepth(offsetBytes, runBytes) ?? new DepthRun(0, runBytes);
    }

    /// <summary>Reads what shows through where the image stores nothing.</summary>
    public void ReadBeneath(long offsetBytes, Span<byte> part)
    {
        if (parent is null)
        {
            part.Clear();
        }
        else
        {
            parent.Read(offsetBytes, part);
        }
    }

    /// <summary>The status of what shows through where the image stores nothing.</summary>
    public BlockStatusRun GetStatusBeneath(long offsetBytes, long lengthBytes) => parent is null
        ? new BlockStatusRun(BlockStatus.Unallocated, lengthBytes)
        : parent.GetStatus(offsetBytes, lengthBytes);

    private void ReadInBlock(long offsetBytes, Span<byte> part)
    {
        int block = header.BlockOf(offsetBytes);
        uint sector = metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            ReadBeneath(offsetBytes, part);
            return;
        }

        long dataBytes = metadata.DataOffsetBytes(sector);
        if (metadata.HoldsAll(block))
        {
            file.Read(dataBytes + header.InBlock(offsetBytes), part);
            return;
        }

        SectorBitmap bitmap = metadata.FindBitmap(block);
        while (!part.IsEmpty)
        {
            int runBytes = bitmap.CountRunBytes(header.InBlock(offsetBytes), part.Length, out bool isPresent);
            if (isPresent)
            {
                file.Read(dataBytes + header.InBlock(offsetBytes), part[..runBytes]);
            }
            else
            {
                ReadBeneath(offsetBytes, part[..runBytes]);
            }

            offsetBytes += runBytes;
            part = part[runBytes..];
        }
    }

    // The length of the run that one image decides, and the sector of its block; Free where this image stores nothing.
    private long FindRun(long offsetBytes, long lengthBytes, out uint sector)
    {
        int block = header.BlockOf(offsetBytes);
        sector = metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            int blocks = metadata.Table.CountFree(block, header.BlockOf(offsetBytes + lengthBytes - 1) - block + 1);
            long freeEndBytes = ((long)block + Math.Max(1, blocks)) << header.BlockBits;
            return Math.Min(lengthBytes, freeEndBytes - offsetBytes);
        }

        int leftBytes = (int)Math.Min(lengthBytes, header.BytesLeftInBlock(offsetBytes));
        if (!metadata.HoldsAll(block))
        {
            leftBytes = metadata.FindBitmap(block).CountRunBytes(header.InBlock(offsetBytes), leftBytes, out bool isPresent);
            sector = isPresent ? sector : VhdBlockTable.Free;
        }

        return leftBytes;
    }
}
