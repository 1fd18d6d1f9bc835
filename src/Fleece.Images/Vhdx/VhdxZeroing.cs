// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Zeroes and discards parts of a VHDX disk.</summary>
/// <remarks>
/// Threading. As <see cref="VhdxWriter"/>.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="metadata">Its sizes.</param>
/// <param name="map">What is stored where.</param>
/// <param name="changes">Changes that.</param>
/// <param name="commit">Brings the changes to the disk.</param>
/// <param name="writer">Stores zeros over the parent.</param>
internal sealed class VhdxZeroing(
    IContainerFile file, VhdxMetadata metadata, BlockMap map, BlockChanges changes, MetadataCommit commit, VhdxWriter writer)
{
    // What discards free within a block: a page of the file system.
    private const long PunchBytes = 4096;

    private const int ZeroesBytes = 256 * 1024;

    // Shared by all nodes; nothing writes to it.
    private static readonly byte[] Zeroes = new byte[ZeroesBytes];

    private readonly Epochs _epochs = map.Epochs;
    private readonly int _blockBits = BitOperations.Log2((uint)metadata.BlockBytes);

    /// <inheritdoc cref="IBlockNode.WriteZeroesAsync"/>
    /// <remarks>In a differencing image only whole blocks are zeroed fast.</remarks>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = WholeBlocks(range);
        if (metadata.HasParent && (flags & WriteFlags.OnlyIfFast) != 0 && !range.IsEmpty && whole != range)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{file.Path}' has a parent, so zeros for parts of its blocks of {metadata.BlockBytes} bytes would be written one " +
                "by one.",
                file.Path,
                offsetBytes,
                "write zeros to");
        }

        if (!range.IsEmpty)
        {
            commit.PrepareForChange();
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
            await commit.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc cref="IBlockNode.DiscardAsync"/>
    /// <remarks>Whole blocks are freed. Within a block whole pages of 4 KiB that the image stores are zeroed in place, which
    /// gives their storage back.</remarks>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = RoundInward(new BlockRange(offsetBytes, lengthBytes), PunchBytes);
        if (range.IsEmpty)
        {
            return;
        }

        commit.PrepareForChange();
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

    // A part of a block: zeros go to where it is stored; where the parent shows through, zeros are stored. Run by run, because
    // storing one, or a write beside the range, stores whole sectors, and what they took from the parent must be zeroed too.
    private async ValueTask ZeroPartAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!metadata.HasParent)
        {
            ZeroStored(range);
            return;
        }

        long atBytes = range.OffsetBytes;
        while (atBytes < range.EndBytes)
        {
            MappedRun run = map.Map(atBytes, Math.Min(range.EndBytes - atBytes, ZeroesBytes));
            if (run.Kind == RunKind.Parent)
            {
                await writer.WriteRestAsync(atBytes, Zeroes.AsMemory(0, (int)run.LengthBytes), WriteFlags.None, cancellationToken)
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
        int ticket = _epochs.Enter();
        try
        {
            long atBytes = range.OffsetBytes;
            while (atBytes < range.EndBytes)
            {
                MappedRun run = map.Map(atBytes, range.EndBytes - atBytes);
                if (run.Kind == RunKind.Data)
                {
                    file.Zero(run.FileOffsetBytes, run.LengthBytes);
                }

                atBytes += run.LengthBytes;
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }
    }

    private async ValueTask DropAsync(BlockRange whole, bool isDiscard, CancellationToken cancellationToken)
    {
        if (metadata.IsFixed)
        {
            await ZeroPartAsync(whole, cancellationToken).ConfigureAwait(false);
            return;
        }

        long block = whole.OffsetBytes >> _blockBits;
        long endBlock = (whole.EndBytes + metadata.BlockBytes - 1) >> _blockBits;
        while (block < endBlock)
        {
            if (changes.NeedsCommit)
            {
                await commit.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            if (TryDrop(block, isDiscard))
            {
                block++;
            }
        }

        changes.Reclaim();
    }

    private bool TryDrop(long block, bool isDiscard)
    {
        lock (changes.LockOf(block))
        {
            return changes.TryDropBlock(block, isDiscard);
        }
    }

    // The last block of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange WholeBlocks(BlockRange range) => RoundInward(range, metadata.BlockBytes);

    private BlockRange RoundInward(BlockRange range, long unitBytes)
    {
        long startBytes = (range.OffsetBytes + unitBytes - 1) & -unitBytes;
        long endBytes = range.EndBytes == metadata.SizeBytes ? range.EndBytes : range.EndBytes & -unitBytes;
        return BlockRange.FromEnds(startBytes, endBytes);
    }
}
