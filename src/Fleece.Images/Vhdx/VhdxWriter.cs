// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Writes to a VHDX disk.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread; only a request for which a commit must make room waits for that without a thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="metadata">Its sizes.</param>
/// <param name="map">What is stored where.</param>
/// <param name="changes">Changes that.</param>
/// <param name="commit">Brings the changes to the disk.</param>
/// <param name="reader">Reads the parent.</param>
internal sealed class VhdxWriter(
    IContainerFile file, VhdxMetadata metadata, BlockMap map, BlockChanges changes, MetadataCommit commit, VhdxReader reader)
{
    private readonly Epochs _epochs = map.Epochs;
    private readonly int _blockBits = BitOperations.Log2((uint)metadata.BlockBytes);

    /// <inheritdoc cref="IBlockNode.WriteAsync"/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        int doneBytes = changes.NeedsCommit ? 0 : Write(offsetBytes, data.Span);
        return doneBytes == data.Length && (flags & WriteFlags.ForceUnitAccess) == 0
            ? default
            : WriteRestAsync(offsetBytes + doneBytes, data[doneBytes..], flags, cancellationToken);
    }

    /// <summary>As <see cref="WriteAsync"/>, where commits may have to make room in between.</summary>
    public async ValueTask WriteRestAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        while (!data.IsEmpty)
        {
            if (changes.NeedsCommit)
            {
                await commit.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            int doneBytes = Write(offsetBytes, data.Span);
            offsetBytes += doneBytes;
            data = data[doneBytes..];
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await commit.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    // Returns how much was written: less than all when a commit must make room first.
    private int Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            return 0;
        }

        commit.PrepareForChange();
        int ticket = _epochs.Enter();
        try
        {
            int doneBytes = 0;
            while (doneBytes < data.Length)
            {
                MappedRun run = map.Map(offsetBytes + doneBytes, data.Length - doneBytes);
                ReadOnlySpan<byte> part = data.Slice(doneBytes, (int)run.LengthBytes);
                if (run.Kind == RunKind.Data)
                {
                    file.Write(run.FileOffsetBytes, part);
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
            _epochs.Exit(ticket);
        }
    }

    // For a range of one block that stores nothing there. False when a commit must make room first. Where only the block's entry
    // had to change, nothing is written yet.
    private bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out int storedBytes)
    {
        long block = offsetBytes >> _blockBits;
        storedBytes = 0;
        lock (changes.LockOf(block))
        {
            MappedRun run = map.Map(offsetBytes, data.Length);
            if (run.Kind == RunKind.Data)
            {
                return true;
            }

            BatEntry entry = map.FindEntry(block);
            FreeSpace? taken = entry.IsPresent ? null : changes.TakeSpace();
            bool isStored = false;
            try
            {
                long fileBytes = taken?.OffsetBytes ?? entry.OffsetBytes;
                if (run.Kind != RunKind.Parent)
                {
                    if (taken is { IsZero: false } space)
                    {
                        file.Zero(space.OffsetBytes, space.LengthBytes);
                        taken = space with { IsZero = true };
                    }

                    isStored = changes.TryStoreBlock(block, fileBytes);
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
                    changes.GiveSpace(unused);
                }
            }
        }
    }

    private bool TryStoreOverParent(long block, long blockFileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        BlockRange sectors = RoundOutward(new BlockRange(offsetBytes, data.Length));
        long fileBytes = blockFileBytes + (sectors.OffsetBytes & (metadata.BlockBytes - 1));
        if (sectors.LengthBytes == data.Length)
        {
            file.Write(fileBytes, data);
        }
        else
        {
            WriteMerged(sectors, fileBytes, offsetBytes, data);
        }

        bool isWhole = sectors.LengthBytes == BlockMap.LeastBytes(metadata, block);
        return isWhole
            ? changes.TryStoreBlock(block, blockFileBytes)
            : changes.TryStoreSectors(block, blockFileBytes, sectors.OffsetBytes, sectors.LengthBytes);
    }

    // The first and the last sector are filled up from the parent where the data does not cover them.
    private void WriteMerged(BlockRange sectors, long fileBytes, long offsetBytes, ReadOnlySpan<byte> data)
    {
        Span<byte> sector = stackalloc byte[metadata.SectorBytes];
        long atBytes = sectors.OffsetBytes;
        while (!data.IsEmpty)
        {
            int skippedBytes = (int)(offsetBytes - atBytes);
            int partBytes = Math.Min(data.Length, sector.Length - skippedBytes);
            if (partBytes == sector.Length)
            {
                partBytes = data.Length & -sector.Length;
                file.Write(fileBytes, data[..partBytes]);
            }
            else
            {
                reader.ReadParent(atBytes, sector);
                data[..partBytes].CopyTo(sector[skippedBytes..]);
                file.Write(fileBytes, sector);
            }

            long nextBytes = (offsetBytes + partBytes + sector.Length - 1) & -sector.Length;
            fileBytes += nextBytes - atBytes;
            atBytes = nextBytes;
            offsetBytes += partBytes;
            data = data[partBytes..];
        }
    }

    private BlockRange RoundOutward(BlockRange range)
    {
        long mask = metadata.SectorBytes - 1;
        return BlockRange.FromEnds(range.OffsetBytes & ~mask, (range.EndBytes + mask) & ~mask);
    }
}
