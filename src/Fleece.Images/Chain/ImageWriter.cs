// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;

namespace Fleece.Images.Chain;

/// <summary>Writes, zeroes and discards parts of the disk of an image by its map.</summary>
/// <remarks>
/// <para>Bytes go to where they lie already; the map finds places for all others. Zeros take whole units of the map away and are stored in
/// parts of units. Discards take whole units away, and free what the file system can free in parts.</para>
/// <para>How requests stay out of each other's way. A request counts itself into <see cref="Epochs"/>, looks the map up without a lock and
/// does its I/O on the file. A place that a drop takes away meanwhile gets no other content before that request has ended, so no request
/// ever reads or writes a place that belongs to another part of the disk by then; a write that a drop overtakes lands in a place that
/// is not read any more.</para>
/// <para>Threading. Any thread, on the calling thread; only a request for which a write-back must make room waits for that without a
/// thread.</para>
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="map">What lies where.</param>
/// <param name="changes">Changes that.</param>
/// <param name="parent">What shows through where nothing is stored; null for zeros.</param>
internal sealed class ImageWriter(IContainerFile file, IImageMap map, IImageChanges changes, ParentImage? parent)
{
    private readonly IContainerFile _dataFile = map.DataFile;
    private readonly Epochs _epochs = map.Epochs;
    private readonly IUnitDrops? _drops = changes.Drops;
    private readonly StagedWriteBack? _writeBack = changes.WriteBack;

    /// <inheritdoc cref="IBlockNode.WriteAsync"/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        int doneBytes = changes.IsWriteBackDue ? 0 : Write(offsetBytes, data.Span);
        return doneBytes == data.Length && (flags & WriteFlags.ForceUnitAccess) == 0
            ? default
            : WriteRestAsync(offsetBytes + doneBytes, data[doneBytes..], flags, cancellationToken);
    }

    /// <inheritdoc cref="IBlockNode.WriteZeroesAsync"/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = FindDroppable(range);
        if ((flags & WriteFlags.OnlyIfFast) != 0 && _drops is { ArePartsSlow: true } && whole.LengthBytes != lengthBytes)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{file.Path}' has a parent, so zeros for parts of its blocks of {_drops.UnitBytes} bytes would be written one " +
                "by one.",
                file.Path,
                offsetBytes,
                "write zeros to");
        }

        (BlockRange head, BlockRange tail) = Around(range, whole);
        await ZeroAsync(head, cancellationToken).ConfigureAwait(false);
        await ZeroAsync(tail, cancellationToken).ConfigureAwait(false);
        await DropAsync(whole, isDiscard: false, cancellationToken).ConfigureAwait(false);
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc cref="IBlockNode.DiscardAsync"/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = FindDroppable(range);
        if (changes.PunchBytes != 0)
        {
            (BlockRange head, BlockRange tail) = Around(RoundInward(range, changes.PunchBytes), whole);
            Zero(head, onlyStored: true);
            Zero(tail, onlyStored: true);
        }

        return DropAsync(whole, isDiscard: true, cancellationToken);
    }

    /// <inheritdoc cref="IBlockNode.FlushAsync"/>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        if (_writeBack is not null)
        {
            return _writeBack.RunAsync(cancellationToken);
        }

        file.Flush();
        return default;
    }

    private async ValueTask WriteRestAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        while (!data.IsEmpty)
        {
            await MakeRoomAsync(cancellationToken).ConfigureAwait(false);
            int doneBytes = Write(offsetBytes, data.Span);
            offsetBytes += doneBytes;
            data = data[doneBytes..];
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private ValueTask MakeRoomAsync(CancellationToken cancellationToken) =>
        changes.IsWriteBackDue ? _writeBack!.RunAsync(cancellationToken) : default;

    // Returns how much is written: less than all when a write-back must make room first.
    private int Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            return 0;
        }

        changes.Prepare();
        int doneBytes = 0;
        int ticket = _epochs.Enter();
        try
        {
            while (doneBytes < data.Length)
            {
                ReadOnlySpan<byte> rest = data[doneBytes..];
                MappedRun run = map.Map(offsetBytes + doneBytes, rest.Length, isContiguous: true);
                if (run.IsWritable)
                {
                    _dataFile.Write(run.FileOffsetBytes, rest[..(int)run.LengthBytes]);
                    doneBytes += (int)run.LengthBytes;
                }
                else if (changes.TryStore(offsetBytes + doneBytes, rest, out long storedBytes))
                {
                    doneBytes += (int)storedBytes;
                }
                else
                {
                    break;
                }
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }

        return doneBytes;
    }

    private async ValueTask ZeroAsync(BlockRange range, CancellationToken cancellationToken)
    {
        while (!range.IsEmpty)
        {
            await MakeRoomAsync(cancellationToken).ConfigureAwait(false);
            range = BlockRange.FromEnds(range.OffsetBytes + Zero(range, onlyStored: false), range.EndBytes);
        }
    }

    // Run by run, because storing one, or a write beside the range, may store more than itself, which must be zeroed too. Returns how
    // much is done: less than all when a write-back must make room first. Where only what is stored counts, that is zeroed in place.
    private long Zero(BlockRange range, bool onlyStored)
    {
        long atBytes = range.OffsetBytes;
        int ticket = _epochs.Enter();
        try
        {
            while (atBytes < range.EndBytes)
            {
                MappedRun run = map.Map(atBytes, range.EndBytes - atBytes, isContiguous: true);
                if (onlyStored ? run.Kind != RunKind.Data : ReadsAsZero(run, atBytes))
                {
                    atBytes += run.LengthBytes;
                    continue;
                }

                changes.Prepare();
                long doneBytes = run.LengthBytes;
                if (onlyStored || (run.IsWritable && !changes.SaysPartialZeroes))
                {
                    _dataFile.Zero(run.FileOffsetBytes, doneBytes);
                }
                else if (!changes.TryZero(atBytes, run, out doneBytes))
                {
                    break;
                }

                atBytes += doneBytes;
                if (!onlyStored && changes.IsWriteBackDue)
                {
                    break;
                }
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }

        return atBytes - range.OffsetBytes;
    }

    private bool ReadsAsZero(in MappedRun run, long offsetBytes) =>
        run.Kind is RunKind.Zero or RunKind.Unallocated
        || (run.Kind == RunKind.Parent && (parent is null || offsetBytes >= parent.Layer.LengthBytes));

    private async ValueTask DropAsync(BlockRange whole, bool isDiscard, CancellationToken cancellationToken)
    {
        if (whole.IsEmpty)
        {
            return;
        }

        for (long atBytes = whole.OffsetBytes; atBytes < whole.EndBytes;)
        {
            await MakeRoomAsync(cancellationToken).ConfigureAwait(false);
            if (_drops!.TryDrop(BlockRange.FromEnds(atBytes, whole.EndBytes), isDiscard, out long doneBytes))
            {
                atBytes += doneBytes;
            }
        }

        _drops!.Reclaim();
    }

    private BlockRange FindDroppable(BlockRange range)
    {
        if (_drops is null)
        {
            return default;
        }

        BlockRange whole = RoundInward(range, _drops.UnitBytes);
        return BlockRange.FromEnds(Math.Max(whole.OffsetBytes, _drops.FirstBytes), whole.EndBytes);
    }

    // The last unit of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange RoundInward(BlockRange range, long unitBytes)
    {
        long startBytes = (range.OffsetBytes + unitBytes - 1) & -unitBytes;
        long endBytes = range.EndBytes == map.SizeBytes ? range.EndBytes : range.EndBytes & -unitBytes;
        return BlockRange.FromEnds(startBytes, endBytes);
    }

    private static (BlockRange Head, BlockRange Tail) Around(BlockRange range, BlockRange whole) => whole.IsEmpty
        ? (range, default)
        : (BlockRange.FromEnds(range.OffsetBytes, whole.OffsetBytes), BlockRange.FromEnds(whole.EndBytes, range.EndBytes));
}
