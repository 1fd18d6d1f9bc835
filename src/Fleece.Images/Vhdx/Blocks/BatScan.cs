// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>Reads the whole BAT and looks at every entry: what uses which part of the file.</summary>
/// <remarks>In memory is one bit for each MiB of the file and a piece of the BAT.</remarks>
internal sealed class BatScan
{
    private const int PieceBytes = 1024 * 1024;

    private readonly IContainerFile _view;
    private readonly VhdxStructure _structure;
    private readonly VhdxMetadata _metadata;
    private readonly Action<BlockException> _report;
    private readonly long _fileBytes;
    private readonly ulong[] _used;
    private readonly BlockRange[] _ownRanges;
    private long _previousEndBytes;

    /// <summary>Reads the BAT.</summary>
    /// <param name="view">The file, with its log replayed.</param>
    /// <param name="structure">Its structures.</param>
    /// <param name="report">Takes each fault; it may throw it.</param>
    /// <param name="cancellationToken">Ends the scan.</param>
    public BatScan(
        IContainerFile view, VhdxStructure structure, Action<BlockException> report, CancellationToken cancellationToken = default)
    {
        _view = view;
        _structure = structure;
        _metadata = structure.Metadata;
        _report = report;
        _fileBytes = view.GetLength();
        if (_fileBytes > VhdxLimits.MaxFileBytes)
        {
            throw VhdxFault.Corrupt(view.Path, $"the file has {_fileBytes} bytes, {VhdxLimits.MaxFileBytes} is the limit");
        }

        _used = new ulong[(VhdxFormat.RoundUpToMiB(_fileBytes) / VhdxFormat.MiB / 64) + 1];
        _ownRanges = [.. structure.OwnRanges];
        foreach (BlockRange range in _ownRanges)
        {
            TryUse(range.OffsetBytes, range.LengthBytes);
        }

        ScanEntries(isPresent: true, cancellationToken);
        ScanEntries(isPresent: false, cancellationToken);
        EndBytes = FindEnd();
    }

    /// <summary>Payload blocks that store something.</summary>
    public long PresentCount { get; private set; }

    /// <summary>Payload blocks that do not follow the one before in the file.</summary>
    public long FragmentedCount { get; private set; }

    /// <summary>Behind the last MiB that is in use.</summary>
    public long EndBytes { get; }

    /// <summary>What nothing uses, in MiB, before <see cref="EndBytes"/>.</summary>
    public IEnumerable<(long OffsetBytes, long LengthBytes)> Gaps
    {
        get
        {
            long startBytes = -1;
            for (long atBytes = 0; atBytes < EndBytes; atBytes += VhdxFormat.MiB)
            {
                if (!IsUsed(atBytes))
                {
                    startBytes = startBytes < 0 ? atBytes : startBytes;
                }
                else if (startBytes >= 0)
                {
                    yield return (startBytes, atBytes - startBytes);
                    startBytes = -1;
                }
            }
        }
    }

    // Blocks first; then what only keeps an offset, where nothing is stored and an overlap harms nobody.
    private void ScanEntries(bool isPresent, CancellationToken cancellationToken)
    {
        byte[] piece = new byte[(int)Math.Min(PieceBytes, _structure.Metadata.BatEntryCount * sizeof(ulong))];
        long index = 0;
        while (index < _metadata.BatEntryCount)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = (int)Math.Min(piece.Length / sizeof(ulong), _metadata.BatEntryCount - index);
            _view.Read(_structure.Regions.Bat.OffsetBytes + (index * sizeof(ulong)), piece.AsSpan(0, count * sizeof(ulong)));
            for (int i = 0; i < count; i++)
            {
                BatEntry entry = new(BinaryPrimitives.ReadUInt64LittleEndian(piece.AsSpan(i * sizeof(ulong))));
                if (entry.Value == 0)
                {
                    continue;
                }

                if (isPresent)
                {
                    Look(index + i, entry);
                }
                else if (!entry.IsPresent && entry.OffsetBytes > 0 && entry.OffsetBytes < _fileBytes)
                {
                    TryUse(entry.OffsetBytes, Math.Min(_metadata.BlockBytes, _fileBytes - entry.OffsetBytes));
                }
            }

            index += count;
        }
    }

    private void Look(long index, BatEntry entry)
    {
        long chunkLength = _metadata.ChunkRatio + 1;
        bool isBitmap = index % chunkLength == _metadata.ChunkRatio;
        string what = isBitmap ? $"sector bitmap block {index / chunkLength}" : $"block {index - (index / chunkLength)}";
        if (entry.HasReservedBits || (isBitmap && entry.State is not (BlockState.NotPresent or BlockState.FullyPresent)))
        {
            Report(index, entry, what, "is no state of such a block, or has reserved bits");
            return;
        }

        if (!entry.IsPresent)
        {
            return;
        }

        if (entry.State == BlockState.PartiallyPresent && !_metadata.HasParent)
        {
            Report(index, entry, what, "is partially present, and the image has no parent");
            return;
        }

        // The BAT of an image with a parent ends with a whole chunk, the disk need not.
        if (!isBitmap && index - (index / chunkLength) >= _metadata.BlockCount)
        {
            Report(index, entry, what, $"is present, and the disk has {_metadata.BlockCount} blocks");
            return;
        }

        long lengthBytes = isBitmap ? VhdxFormat.MiB : _metadata.DiskBytesOf(index - (index / chunkLength));
        if (entry.FindMisplacement(lengthBytes, _fileBytes, _ownRanges) is { } misplacement)
        {
            Report(index, entry, what, misplacement);
            return;
        }

        if (!TryUse(entry.OffsetBytes, Math.Min(isBitmap ? lengthBytes : _metadata.BlockBytes, RoundedFileBytes - entry.OffsetBytes)))
        {
            Report(index, entry, what, "overlaps another block");
        }

        if (!isBitmap)
        {
            PresentCount++;
            FragmentedCount += PresentCount > 1 && entry.OffsetBytes != _previousEndBytes ? 1 : 0;
            _previousEndBytes = entry.OffsetBytes + _metadata.BlockBytes;
            CheckBitmap(index, entry, what);
        }
    }

    private long RoundedFileBytes => VhdxFormat.RoundUpToMiB(_fileBytes);

    private void CheckBitmap(long index, BatEntry entry, string what)
    {
        if (entry.State != BlockState.PartiallyPresent)
        {
            return;
        }

        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        long bitmapIndex = (index / (_metadata.ChunkRatio + 1) * (_metadata.ChunkRatio + 1)) + _metadata.ChunkRatio;
        _view.Read(_structure.Regions.Bat.OffsetBytes + (bitmapIndex * sizeof(ulong)), bytes);
        if (new BatEntry(BinaryPrimitives.ReadUInt64LittleEndian(bytes)).State != BlockState.FullyPresent)
        {
            Report(index, entry, what, $"is partially present, and its sector bitmap block (BAT entry {bitmapIndex}) is not there");
        }
    }

    private void Report(long index, BatEntry entry, string what, string fault) => _report(VhdxFault.Corrupt(
        _view.Path,
        $"BAT entry {index} of {what} is 0x{entry.Value:x16}, which {fault}",
        _structure.Regions.Bat.OffsetBytes + (index * sizeof(ulong))));

    private bool TryUse(long offsetBytes, long lengthBytes)
    {
        bool isFree = true;
        for (long atBytes = offsetBytes; atBytes < Math.Min(offsetBytes + lengthBytes, RoundedFileBytes); atBytes += VhdxFormat.MiB)
        {
            isFree &= !IsUsed(atBytes);
            long unit = atBytes / VhdxFormat.MiB;
            _used[unit / 64] |= 1UL << (int)(unit % 64);
        }

        return isFree;
    }

    private bool IsUsed(long atBytes)
    {
        long unit = atBytes / VhdxFormat.MiB;
        return (_used[unit / 64] & (1UL << (int)(unit % 64))) != 0;
    }

    private long FindEnd()
    {
        long endBytes = RoundedFileBytes;
        while (endBytes > 0 && !IsUsed(endBytes - VhdxFormat.MiB))
        {
            endBytes -= VhdxFormat.MiB;
        }

        return endBytes;
    }
}
