// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Zeroes and discards parts of a dynamic or differencing VHD disk.</summary>
/// <remarks>
/// The storage of allocated blocks is freed in the file system, and they stay allocated: the format has no other zeros, and a block
/// that never changes its place needs no care for requests that are under way.
/// <para>Threading. As <see cref="VhdWriter"/>.</para>
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="header">Its header.</param>
/// <param name="metadata">Its tables.</param>
/// <param name="reader">Tells what the parent holds.</param>
/// <param name="writer">Writes parts of sectors.</param>
/// <param name="writeBack">Brings changed tables to the disk.</param>
/// <param name="mustStoreZeroes">True to store zeros over a parent that reads as zeros itself.</param>
internal sealed class VhdZeroing(
    IContainerFile file,
    VhdHeader header,
    VhdMetadata metadata,
    VhdReader reader,
    VhdWriter writer,
    VhdWriteBack writeBack,
    bool mustStoreZeroes)
{
    private readonly bool _mustStoreZeroes = metadata.IsDifferencing && mustStoreZeroes;

    /// <inheritdoc cref="IBlockNode.WriteZeroesAsync"/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (lengthBytes != 0)
        {
            metadata.Prepare();
        }

        long endBytes = offsetBytes + lengthBytes;
        while (offsetBytes < endBytes)
        {
            if (metadata.NeedsWriteBack)
            {
                await writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            int partBytes = (int)Math.Min(endBytes - offsetBytes, header.BytesLeftInBlock(offsetBytes));
            ZeroInBlock(offsetBytes, partBytes);
            offsetBytes += partBytes;
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>As <see cref="IBlockNode.DiscardAsync"/>. What the parent holds stays: the format can't say that a sector is of no
    /// interest.</summary>
    public void Discard(long offsetBytes, long lengthBytes)
    {
        long endBytes = (offsetBytes + lengthBytes) & -VhdLimits.SectorBytes;
        offsetBytes = (offsetBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;
        if (offsetBytes < endBytes)
        {
            metadata.Prepare();
        }

        while (offsetBytes < endBytes)
        {
            int block = header.BlockOf(offsetBytes);
            int partBytes = (int)Math.Min(endBytes - offsetBytes, header.BytesLeftInBlock(offsetBytes));
            uint sector = metadata.Find(block);
            if (sector != VhdBlockTable.Free)
            {
                ZeroAllocated(block, sector, offsetBytes, partBytes, hidesParent: false);
            }

            offsetBytes += partBytes;
        }
    }

    private void ZeroInBlock(long offsetBytes, int lengthBytes)
    {
        int block = header.BlockOf(offsetBytes);
        uint sector = metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            if (NeedsNoZeroes(offsetBytes, lengthBytes))
            {
                return;
            }

            sector = metadata.Allocate(block);
        }

        ZeroAllocated(block, sector, offsetBytes, lengthBytes, hidesParent: true);
    }

    private void ZeroAllocated(int block, uint sector, long offsetBytes, int lengthBytes, bool hidesParent)
    {
        long dataBytes = metadata.DataOffsetBytes(sector);
        if (metadata.HoldsAll(block))
        {
            file.Zero(dataBytes + header.InBlock(offsetBytes), lengthBytes);
            return;
        }

        SectorBitmap bitmap = metadata.FindBitmap(block);
        while (lengthBytes != 0)
        {
            int runBytes = bitmap.CountRunBytes(header.InBlock(offsetBytes), lengthBytes, out bool isPresent);
            if (isPresent)
            {
                file.Zero(dataBytes + header.InBlock(offsetBytes), runBytes);
            }
            else if (hidesParent && !NeedsNoZeroes(offsetBytes, runBytes))
            {
                runBytes = HideParent(block, dataBytes, offsetBytes, runBytes);
            }

            offsetBytes += runBytes;
            lengthBytes -= runBytes;
        }
    }

    // Zeros over sectors that the parent holds; returns how many bytes are done.
    private int HideParent(int block, long dataBytes, long offsetBytes, int lengthBytes)
    {
        int inBlock = header.InBlock(offsetBytes);
        int inSector = inBlock % VhdLimits.SectorBytes;
        if (inSector != 0 || lengthBytes < VhdLimits.SectorBytes)
        {
            Span<byte> zeros = stackalloc byte[VhdLimits.SectorBytes];
            zeros.Clear();
            int countBytes = Math.Min(lengthBytes, VhdLimits.SectorBytes - inSector);
            writer.WritePartOfSector(block, dataBytes, offsetBytes, zeros[..countBytes]);
            return countBytes;
        }

        int wholeBytes = lengthBytes & -VhdLimits.SectorBytes;
        file.Zero(dataBytes + inBlock, wholeBytes);
        metadata.SetPresent(block, inBlock / VhdLimits.SectorBytes, wholeBytes / VhdLimits.SectorBytes);
        return wholeBytes;
    }

    // True where nothing is stored, the parent reads as zeros, and need not be hidden.
    private bool NeedsNoZeroes(long offsetBytes, long lengthBytes)
    {
        if (_mustStoreZeroes)
        {
            return false;
        }

        long endBytes = offsetBytes + lengthBytes;
        while (offsetBytes < endBytes)
        {
            BlockStatusRun run = reader.GetStatusBeneath(offsetBytes, endBytes - offsetBytes);
            if (!run.ReadsAsZero)
            {
                return false;
            }

            offsetBytes += run.LengthBytes;
        }

        return true;
    }
}
