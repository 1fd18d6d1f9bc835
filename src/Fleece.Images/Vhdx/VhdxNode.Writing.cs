// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Vhdx.Blocks;

namespace Fleece.Images.Vhdx;

/// <content>Writing, zeroing and discarding.</content>
internal sealed partial class VhdxNode
{
    // What discards free within a block: a page of the file system.
    private const long PunchBytes = 4096;

    private const int ZeroesBytes = 256 * 1024;

    // Shared by all nodes; nothing writes to it.
    private static readonly byte[] Zeroes = new byte[ZeroesBytes];

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        int doneBytes = _map.NeedsCommit ? 0 : Write(offsetBytes, data.Span);
        return doneBytes == data.Length && (flags & WriteFlags.ForceUnitAccess) == 0
            ? default
            : WriteRestAsync(offsetBytes + doneBytes, data[doneBytes..], flags, cancellationToken);
    }

    /// <inheritdoc/>
    /// <remarks>In a differencing image only whole blocks are zeroed fast.</remarks>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = WholeBlocks(range);
        if (_metadata.HasParent && (flags & WriteFlags.OnlyIfFast) != 0 && !range.IsEmpty && whole != range)
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{_file.Path}' has a parent, so zeros for parts of its blocks of {_metadata.BlockBytes} bytes would be written one " +
                "by one.",
                _file.Path,
                offsetBytes,
                "write zeros to");
        }

        if (!range.IsEmpty)
        {
            Prepare();
            BlockRange head = whole.IsEmpty ? range : BlockRange.FromEnds(range.OffsetBytes, whole.OffsetBytes);
            await ZeroPartAsync(head, cancellationToken).ConfigureAwait(false);
            await DropAsync(whole, isDiscard: false, cancellationToken).ConfigureAwait(false);
            if (!whole.IsEmpty)
            {
                await ZeroPartAsync(BlockRange.FromEnds(whole.EndBytes, range.EndBytes), cancellationToken).ConfigureAwait(false);
            }
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _commit!.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    /// <remarks>Whole blocks are freed. Within a block whole pages of 4 KiB that the image stores are zeroed in place, which
    /// gives their storage back.</remarks>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        BlockRange range = RoundInward(new BlockRange(offsetBytes, lengthBytes), PunchBytes);
        if (range.IsEmpty)
        {
            return;
        }

        Prepare();
        BlockRange whole = WholeBlocks(range);
        if (whole.IsEmpty)
        {
            ZeroStored(range);
            return;
        }

        ZeroStored(BlockRange.FromEnds(range.OffsetBytes, whole.OffsetBytes));
        ZeroStored(BlockRange.FromEnds(whole.EndBytes, range.EndBytes));
        await DropAsync(whole, isDiscard: true, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        if (_commit is not null)
        {
            _map.Poison.ThrowIfSet();
            await _commit.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private async ValueTask WriteRestAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        while (!data.IsEmpty)
        {
            if (_map.NeedsCommit)
            {
                await _commit!.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            int doneBytes = Write(offsetBytes, data.Span);
            offsetBytes += doneBytes;
            data = data[doneBytes..];
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _commit!.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    // Returns how much was written: less than all when a commit must make room first.
    private int Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            return 0;
        }

        Prepare();
        int ticket = _map.Epochs.Enter();
        try
        {
            int doneBytes = 0;
            while (doneBytes < data.Length)
            {
                MappedRun run = _map.Map(offsetBytes + doneBytes, data.Length - doneBytes);
                ReadOnlySpan<byte> part = data.Slice(doneBytes, (int)run.LengthBytes);
                if (run.Kind == RunKind.Data)
                {
                    _file.Write(run.FileOffsetBytes, part);
                    doneBytes += part.Length;
                }
                else if (!TryStore(offsetBytes + doneBytes, part, out int storedBytes))
                {
                    break;
                }
                else
                {
                    doneBytes += storedBytes;
                }
            }

            return doneBytes;
        }
        finally
        {
            _map.Epochs.Exit(ticket);
        }
    }

    // For a range of one block that stores nothing there. False when a commit must make room first. Where only the block's entry
    // had to change, nothing is written yet.
    private bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out int storedBytes)
    {
        long block = offsetBytes >> _blockBits;
        storedBytes = 0;
        lock (_map.LockOf(block))
        {
            MappedRun run = _map.Map(offsetBytes, data.Length);
            if (run.Kind == RunKind.Data)
            {
                return true;
            }

            BatEntry entry = _map.FindEntry(block);
            FreeSpace? taken = entry.IsPresent ? null : _map.TakeSpace();
            bool isStored = false;
            try
            {
                long fileBytes = taken?.OffsetBytes ?? entry.OffsetBytes;
                if (run.Kind != RunKind.Parent)
                {
                    if (taken is { IsZero: false } space)
                    {
                        _file.Zero(space.OffsetBytes, space.LengthBytes);
                        taken = space with { IsZero = true };
                    }

                    isStored = _map.TryStoreBlock(block, fileBytes);
                    return isStored;
                }

                data = data[..(int)run.LengthBytes];
                taken = taken is { } used ? used with { IsZero = false } : null;
                isStored = TryStoreOverParent(block, fileBytes, offsetBytes, data);
                storedBytes = isStored ? data.Length : 0;
                return isStored;
            }
            finally
            {
                if (!isStored && taken is { } unused)
                {
                    _map.GiveSpace(unused);
                }
            }
        }
    }

    private bool TryStoreOverParent(long block, long blockFileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        BlockRange sectors = RoundOutward(new BlockRange(offsetBytes, data.Length));
        long fileBytes = blockFileBytes + (sectors.OffsetBytes & (_metadata.BlockBytes - 1));
        if (sectors.LengthBytes == data.Length)
        {
            _file.Write(fileBytes, data);
        }
        else
        {
            WriteMerged(sectors, fileBytes, offsetBytes, data);
        }

        bool isWhole = sectors.LengthBytes == BlockMap.LeastBytes(_metadata, block);
        return isWhole
            ? _map.TryStoreBlock(block, blockFileBytes)
            : _map.TryStoreSectors(block, blockFileBytes, sectors.OffsetBytes, sectors.LengthBytes);
    }

    // The first and the last sector are filled up from the parent where the data does not cover them.
    private void WriteMerged(BlockRange sectors, long fileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        Span<byte> sector = stackalloc byte[_metadata.SectorBytes];
        long atBytes = sectors.OffsetBytes;
        while (!data.IsEmpty)
        {
            int skippedBytes = (int)(offsetBytes - atBytes);
            int partBytes = Math.Min(data.Length, sector.Length - skippedBytes);
            if (partBytes == sector.Length)
            {
                partBytes = data.Length & -sector.Length;
                _file.Write(fileBytes, data[..partBytes]);
            }
            else
            {
                ReadParent(atBytes, sector);
                data[..partBytes].CopyTo(sector[skippedBytes..]);
                _file.Write(fileBytes, sector);
            }

            long nextBytes = (offsetBytes + partBytes + sector.Length - 1) & -sector.Length;
            fileBytes += nextBytes - atBytes;
            atBytes = nextBytes;
            offsetBytes += partBytes;
            data = data[partBytes..];
        }
    }

    private void ReadParent(long offsetBytes, Span<byte> buffer)
    {
        if (_parent is null)
        {
            buffer.Clear();
        }
        else
        {
            _parent.Read(offsetBytes, buffer);
        }
    }

    // A part of a block: zeros go to where it is stored; where the parent shows through, zeros are stored. Run by run, because
    // storing one, or a write beside the range, stores whole sectors, and what they took from the parent must be zeroed too.
    private async ValueTask ZeroPartAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!_metadata.HasParent)
        {
            ZeroStored(range);
            return;
        }

        long atBytes = range.OffsetBytes;
        while (atBytes < range.EndBytes)
        {
            MappedRun run = _map.Map(atBytes, Math.Min(range.EndBytes - atBytes, ZeroesBytes));
            if (run.Kind == RunKind.Parent)
            {
                await WriteRestAsync(atBytes, Zeroes.AsMemory(0, (int)run.LengthBytes), WriteFlags.None, cancellationToken)
                    .ConfigureAwait(false);
            }
            else
            {
                ZeroStored(new BlockRange(atBytes, run.LengthBytes));
            }

            atBytes += run.LengthBytes;
        }
    }

    private void ZeroStored(BlockRange range)
    {
        int ticket = _map.Epochs.Enter();
        try
        {
            long atBytes = range.OffsetBytes;
            while (atBytes < range.EndBytes)
            {
                MappedRun run = _map.Map(atBytes, range.EndBytes - atBytes);
                if (run.Kind == RunKind.Data)
                {
                    _file.Zero(run.FileOffsetBytes, run.LengthBytes);
                }

                atBytes += run.LengthBytes;
            }
        }
        finally
        {
            _map.Epochs.Exit(ticket);
        }
    }

    private async ValueTask DropAsync(BlockRange whole, bool isDiscard, CancellationToken cancellationToken)
    {
        if (_metadata.IsFixed)
        {
            await ZeroPartAsync(whole, cancellationToken).ConfigureAwait(false);
            return;
        }

        long block = whole.OffsetBytes >> _blockBits;
        long endBlock = (whole.EndBytes + _metadata.BlockBytes - 1) >> _blockBits;
        while (block < endBlock)
        {
            if (_map.NeedsCommit)
            {
                await _commit!.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            if (TryDrop(block, isDiscard))
            {
                block++;
            }
        }

        _map.Reclaim();
    }

    private bool TryDrop(long block, bool isDiscard)
    {
        lock (_map.LockOf(block))
        {
            return _map.TryDropBlock(block, isDiscard);
        }
    }

    // The last block of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange WholeBlocks(BlockRange range) => RoundInward(range, _metadata.BlockBytes);

    private BlockRange RoundInward(BlockRange range, long unitBytes)
    {
        long startBytes = (range.OffsetBytes + unitBytes - 1) & -unitBytes;
        long endBytes = range.EndBytes == _metadata.SizeBytes ? range.EndBytes : range.EndBytes & -unitBytes;
        return BlockRange.FromEnds(startBytes, endBytes);
    }

    private BlockRange RoundOutward(BlockRange range)
    {
        long mask = _metadata.SectorBytes - 1;
        return BlockRange.FromEnds(range.OffsetBytes & ~mask, (range.EndBytes + mask) & ~mask);
    }

    private void Prepare() => _commit!.PrepareForChange();

    private void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (_file.IsReadOnly)
        {
            throw new BlockException(
                BlockErrorKind.ReadOnly,
                $"Cannot {operation} '{_file.Path}': it is open read-only. Open it for writing first.",
                _file.Path,
                offsetBytes,
                operation);
        }

        _map.Poison.ThrowIfSet();
    }
}
