// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Vhd;

/// <content>Writing, zeroing, discarding and flushing.</content>
internal sealed partial class VhdNode
{
    private const int SectorLockCount = 64;

    private readonly Lock[] _sectorLocks = MakeLocks();

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        if (_metadata.NeedsWriteBack || (flags & WriteFlags.ForceUnitAccess) != 0)
        {
            return WriteAndFlushAsync(offsetBytes, data, flags, cancellationToken);
        }

        Write(offsetBytes, data.Span);
        return default;
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        if (lengthBytes != 0)
        {
            _metadata.Prepare();
        }

        long endBytes = offsetBytes + lengthBytes;
        while (offsetBytes < endBytes)
        {
            if (_metadata.NeedsWriteBack)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            int partBytes = (int)Math.Min(endBytes - offsetBytes, BytesLeftInBlock(offsetBytes));
            ZeroInBlock(offsetBytes, partBytes);
            offsetBytes += partBytes;
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        long endBytes = (offsetBytes + lengthBytes) & -VhdLimits.SectorBytes;
        offsetBytes = (offsetBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;
        if (offsetBytes < endBytes)
        {
            _metadata.Prepare();
        }

        while (offsetBytes < endBytes)
        {
            int block = BlockOf(offsetBytes);
            int partBytes = (int)Math.Min(endBytes - offsetBytes, BytesLeftInBlock(offsetBytes));
            uint sector = _metadata.Find(block);
            if (sector != VhdBlockTable.Free)
            {
                DiscardInBlock(block, sector, offsetBytes, partBytes);
            }

            offsetBytes += partBytes;
        }

        return default;
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        if (!_file.IsReadOnly)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
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
        if (_metadata.NeedsWriteBack)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }

        Write(offsetBytes, data.Span);
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        if (!data.IsEmpty)
        {
            _metadata.Prepare();
        }

        while (!data.IsEmpty)
        {
            ReadOnlySpan<byte> part = data[..(int)Math.Min(data.Length, BytesLeftInBlock(offsetBytes))];
            WriteInBlock(offsetBytes, part);
            offsetBytes += part.Length;
            data = data[part.Length..];
        }
    }

    private void WriteInBlock(long offsetBytes, ReadOnlySpan<byte> part)
    {
        int block = BlockOf(offsetBytes);
        uint sector = _metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            sector = _metadata.Allocate(block);
        }

        long dataBytes = _metadata.DataOffsetBytes(sector);
        if (_metadata.IsFull(block))
        {
            _file.Write(dataBytes + InBlock(offsetBytes), part);
        }
        else if (_isDifferencing)
        {
            WriteSectors(block, dataBytes, offsetBytes, part);
        }
        else
        {
            _file.Write(dataBytes + InBlock(offsetBytes), part);
            int first = InBlock(offsetBytes) / VhdLimits.SectorBytes;
            int last = (InBlock(offsetBytes) + part.Length - 1) / VhdLimits.SectorBytes;
            _metadata.SetPresent(block, first, last - first + 1);
        }
    }

    private void WriteSectors(int block, long dataBytes, long offsetBytes, ReadOnlySpan<byte> part)
    {
        while (!part.IsEmpty)
        {
            int inBlock = InBlock(offsetBytes);
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
                _file.Write(dataBytes + inBlock, part[..countBytes]);
                _metadata.SetPresent(block, inBlock / VhdLimits.SectorBytes, countBytes / VhdLimits.SectorBytes);
            }

            offsetBytes += countBytes;
            part = part[countBytes..];
        }
    }

    // Where the parent still holds the sector, all of it is written: what the parent has, with the part in it.
    private void WritePartOfSector(int block, long dataBytes, long offsetBytes, ReadOnlySpan<byte> part)
    {
        int index = InBlock(offsetBytes) / VhdLimits.SectorBytes;
        lock (_sectorLocks[index % SectorLockCount])
        {
            if (!_metadata.FindBitmap(block).HasAll(index, 1))
            {
                Span<byte> whole = stackalloc byte[VhdLimits.SectorBytes];
                ReadBeneath(offsetBytes & -VhdLimits.SectorBytes, whole);
                part.CopyTo(whole[(int)(offsetBytes % VhdLimits.SectorBytes)..]);
                _file.Write(dataBytes + ((long)index * VhdLimits.SectorBytes), whole);
                _metadata.SetPresent(block, index, 1);
                return;
            }
        }

        _file.Write(dataBytes + InBlock(offsetBytes), part);
    }

    private void ZeroInBlock(long offsetBytes, int lengthBytes)
    {
        int block = BlockOf(offsetBytes);
        uint sector = _metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            if (NeedsNoZeroes(offsetBytes, lengthBytes))
            {
                return;
            }

            sector = _metadata.Allocate(block);
        }

        long dataBytes = _metadata.DataOffsetBytes(sector);
        if (!_isDifferencing || _metadata.IsFull(block))
        {
            _file.Zero(dataBytes + InBlock(offsetBytes), lengthBytes);
            return;
        }

        SectorBitmap bitmap = _metadata.FindBitmap(block);
        while (lengthBytes != 0)
        {
            int runBytes = CountRunBytes(bitmap, offsetBytes, lengthBytes, out bool isPresent);
            if (isPresent)
            {
                _file.Zero(dataBytes + InBlock(offsetBytes), runBytes);
            }
            else if (!NeedsNoZeroes(offsetBytes, runBytes))
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
        int inBlock = InBlock(offsetBytes);
        int inSector = inBlock % VhdLimits.SectorBytes;
        if (inSector != 0 || lengthBytes < VhdLimits.SectorBytes)
        {
            Span<byte> zeros = stackalloc byte[VhdLimits.SectorBytes];
            zeros.Clear();
            int countBytes = Math.Min(lengthBytes, VhdLimits.SectorBytes - inSector);
            WritePartOfSector(block, dataBytes, offsetBytes, zeros[..countBytes]);
            return countBytes;
        }

        int wholeBytes = lengthBytes & -VhdLimits.SectorBytes;
        _file.Zero(dataBytes + inBlock, wholeBytes);
        _metadata.SetPresent(block, inBlock / VhdLimits.SectorBytes, wholeBytes / VhdLimits.SectorBytes);
        return wholeBytes;
    }

    // What the parent holds stays: the format can't say that a sector is of no interest.
    private void DiscardInBlock(int block, uint sector, long offsetBytes, int lengthBytes)
    {
        long dataBytes = _metadata.DataOffsetBytes(sector);
        if (!_isDifferencing || _metadata.IsFull(block))
        {
            _file.Zero(dataBytes + InBlock(offsetBytes), lengthBytes);
            return;
        }

        SectorBitmap bitmap = _metadata.FindBitmap(block);
        while (lengthBytes != 0)
        {
            int runBytes = CountRunBytes(bitmap, offsetBytes, lengthBytes, out bool isPresent);
            if (isPresent)
            {
                _file.Zero(dataBytes + InBlock(offsetBytes), runBytes);
            }

            offsetBytes += runBytes;
            lengthBytes -= runBytes;
        }
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
            BlockStatusRun run = GetStatusBeneath(offsetBytes, endBytes - offsetBytes);
            if (!run.ReadsAsZero)
            {
                return false;
            }

            offsetBytes += run.LengthBytes;
        }

        return true;
    }
}
