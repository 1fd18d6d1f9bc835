// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Writes to a dynamic or differencing VHD disk.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread; only a request that has to write metadata back waits for a running write-back
/// without a thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="header">Its header.</param>
/// <param name="metadata">Its tables.</param>
/// <param name="reader">Reads the parent.</param>
/// <param name="writeBack">Brings changed tables to the disk.</param>
internal sealed class VhdWriter(
    IContainerFile file, VhdHeader header, VhdMetadata metadata, VhdReader reader, VhdWriteBack writeBack)
{
    private const int SectorLockCount = 64;

    private readonly Lock[] _sectorLocks = MakeLocks();

    /// <inheritdoc cref="IBlockNode.WriteAsync"/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (metadata.NeedsWriteBack || (flags & WriteFlags.ForceUnitAccess) != 0)
        {
            return WriteAndFlushAsync(offsetBytes, data, flags, cancellationToken);
        }

        Write(offsetBytes, data.Span);
        return default;
    }

    /// <summary>Writes a part of a sector that the parent may hold: then the whole sector is written, as the parent has it and with the
    /// part in it.</summary>
    /// <param name="block">The block, which is allocated.</param>
    /// <param name="dataBytes">Where its data begins in the file.</param>
    /// <param name="offsetBytes">Disk offset of the part.</param>
    /// <param name="part">The bytes, all of one sector.</param>
    public void WritePartOfSector(int block, long dataBytes, long offsetBytes, ReadOnlySpan<byte> part)
    {
        int index = header.InBlock(offsetBytes) / VhdLimits.SectorBytes;
        lock (_sectorLocks[index % SectorLockCount])
        {
            if (!metadata.FindBitmap(block).HasAll(index, 1))
            {
                Span<byte> whole = stackalloc byte[VhdLimits.SectorBytes];
                reader.ReadBeneath(offsetBytes & -VhdLimits.SectorBytes, whole);
                part.CopyTo(whole[(int)(offsetBytes % VhdLimits.SectorBytes)..]);
                file.Write(dataBytes + ((long)index * VhdLimits.SectorBytes), whole);
                metadata.SetPresent(block, index, 1);
                return;
            }
        }

        file.Write(dataBytes + header.InBlock(offsetBytes), part);
    }

    private static Lock[] MakeLocks()
    {
        Lock[] locks = new Lock[SectorLockCount];
        for (int i = 0; i < locks.Length; i++)
        {
            locks[i] = new Lock();
        }

        return locks;
    }

    private async ValueTask WriteAndFlushAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (metadata.NeedsWriteBack)
        {
            await writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }

        Write(offsetBytes, data.Span);
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        if (!data.IsEmpty)
        {
            metadata.Prepare();
        }

        while (!data.IsEmpty)
        {
            ReadOnlySpan<byte> part = data[..(int)Math.Min(data.Length, header.BytesLeftInBlock(offsetBytes))];
            WriteInBlock(offsetBytes, part);
            offsetBytes += part.Length;
            data = data[part.Length..];
        }
    }

    private void WriteInBlock(long offsetBytes, ReadOnlySpan<byte> part)
    {
        int block = header.BlockOf(offsetBytes);
        uint sector = metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            sector = metadata.Allocate(block);
        }

        long dataBytes = metadata.DataOffsetBytes(sector);
        int inBlock = header.InBlock(offsetBytes);
        if (metadata.IsFull(block))
        {
            file.Write(dataBytes + inBlock, part);
        }
        else if (metadata.IsDifferencing)
        {
            WriteSectors(block, dataBytes, offsetBytes, part);
        }
        else
        {
            file.Write(dataBytes + inBlock, part);
            int first = inBlock / VhdLimits.SectorBytes;
            int last = (inBlock + part.Length - 1) / VhdLimits.SectorBytes;
            metadata.SetPresent(block, first, last - first + 1);
        }
    }

    private void WriteSectors(int block, long dataBytes, long offsetBytes, ReadOnlySpan<byte> part)
    {
        while (!part.IsEmpty)
        {
            int inBlock = header.InBlock(offsetBytes);
            int inSector = inBlock % VhdLimits.SectorBytes;
            int countBytes;
            if (inSector != 0 || part.Length < VhdLimits.SectorBytes)
            {
                countBytes = Math.Min(part.Length, VhdLimits.SectorBytes - inSector);
                WritePartOfSector(block, dataBytes, offsetBytes, part[..countBytes]);
            }
            else
            {
                countBytes = part.Length & -VhdLimits.SectorBytes;
                file.Write(dataBytes + inBlock, part[..countBytes]);
                metadata.SetPresent(block, inBlock / VhdLimits.SectorBytes, countBytes / VhdLimits.SectorBytes);
            }

            offsetBytes += countBytes;
            part = part[countBytes..];
        }
    }
}
