// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>A dynamic or differencing VHD image as a block node.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. In a dynamic image a block that is not allocated reads as zeros, and the sector
/// bitmap of one that is does not matter, as in QEMU. In a differencing image each sector comes from the block or from the
/// parent, as its bit says; where a part of a sector is written, the rest of it is copied from the parent first.</para>
/// <para>How requests stay out of each other's way. A new block reads as what was there before, zeros or the parent, so it is
/// published before the guest's bytes are written, and its bits are set after; two writers that race for one block both write
/// into it. Two writers of parts of one sector that the parent still holds take turns. Nothing is ever moved or given back.</para>
/// <para>Zeroing and discarding free the storage of allocated blocks in the file system and leave them allocated: the format
/// has no other zeros, and a block that never changes its place needs no care for requests that are under way.</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread. A request may have to write
/// metadata back first when much of it has changed; then it waits for a running write-back without a thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on.</para>
/// <para>Ownership. The node owns the file and the parent. <see cref="DisposeAsync"/> writes metadata back and reports if it
/// can't.</para>
/// </remarks>
internal sealed partial class VhdNode : IBlockNode, IVhdLayer, IAbandonable
{
    private readonly IContainerFile _file;
    private readonly VhdFooters _footers;
    private readonly VhdHeader _header;
    private readonly VhdMetadata _metadata;
    private readonly VhdWriteBack _writeBack;
    private readonly ParentImage? _parent;
    private readonly bool _isDifferencing;
    private readonly bool _mustStoreZeroes;
    private readonly long _sizeBytes;
    private readonly int _blockMask;
    private bool _isClosed;

    private VhdNode(
        IContainerFile file, VhdFooters footers, VhdHeader header, VhdMetadata metadata, ParentImage? parent, bool mustStoreZeroes)
    {
        _file = file;
        _footers = footers;
        _header = header;
        _metadata = metadata;
        _parent = parent;
        _writeBack = new VhdWriteBack(file, metadata);
        _isDifferencing = footers.Footer.Type == VhdDiskType.Differencing;
        _mustStoreZeroes = _isDifferencing && mustStoreZeroes;
        _sizeBytes = footers.Footer.SizeBytes;
        _blockMask = header.BlockBytes - 1;
        Geometry = new BlockGeometry(_sizeBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    string IImageLayer.Path => _file.Path;

    /// <inheritdoc/>
    ImageFormat IImageLayer.Format => ImageFormat.Vhd;

    /// <inheritdoc/>
    long IImageLayer.LengthBytes => _sizeBytes;

    /// <inheritdoc/>
    IImageLayer? IImageLayer.Parent => _parent?.Layer;

    /// <inheritdoc/>
    Guid IVhdLayer.UniqueId => _footers.Footer.UniqueId;

    /// <summary>The tables, for tests.</summary>
    internal VhdMetadata Metadata => _metadata;

    /// <summary>Opens an image; on failure the file is left to the caller and has not been changed.</summary>
    /// <param name="file">The container, which the node owns from then on.</param>
    /// <param name="footers">Its footers, of a dynamic or differencing image.</param>
    /// <param name="cacheBytes">Budget of the sector bitmaps.</param>
    /// <param name="openParent">Opens the parent by what the header says; null to leave it out.</param>
    /// <param name="growthBytes">By how much the file grows at least; tests take less.</param>
    /// <param name="mustStoreZeroes">As <see cref="ImageOpenOptions.MustStoreZeroes"/>.</param>
    /// <exception cref="BlockException">Corrupt, Truncated, Unsupported; why the parent can't be opened; read errors.</exception>
    public static VhdNode Open(
        IContainerFile file,
        VhdFooters footers,
        long cacheBytes,
        Func<VhdHeader, ParentImage>? openParent,
        long growthBytes = VhdLimits.GrowthBytes,
        bool mustStoreZeroes = false)
    {
        if (!file.IsReadOnly && footers.AreContradictory)
        {
            throw VhdFault.Corrupt(
                file.Path,
                $"the copy of the footer at the start {footers.CopyProblem}, so it can only be opened read-only; " +
                "Test-FleeceImage -Repair All takes the footer at the end for both",
                0);
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        VhdMetadata metadata = new(file, footers, header, cacheBytes, growthBytes);
        bool hasParent = footers.Footer.Type == VhdDiskType.Differencing && openParent is not null;
        return new VhdNode(file, footers, header, metadata, hasParent ? openParent!(header) : null, mustStoreZeroes);
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        Read(offsetBytes, buffer.Span);
        return default;
    }

    /// <inheritdoc/>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            Span<byte> part = buffer[..(int)Math.Min(buffer.Length, BytesLeftInBlock(offsetBytes))];
            ReadInBlock(offsetBytes, part);
            offsetBytes += part.Length;
            buffer = buffer[part.Length..];
        }
    }

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    /// <remarks>In a block of which the parent still holds sectors, those are left to the read.</remarks>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            long partBytes = Math.Min(lengthBytes, BytesLeftInBlock(offsetBytes));
            uint sector = _metadata.Find(BlockOf(offsetBytes));
            if (sector != VhdBlockTable.Free)
            {
                _file.ReadAhead(_metadata.DataOffsetBytes(sector) + InBlock(offsetBytes), partBytes);
            }
            else
            {
                _parent?.ReadAhead(offsetBytes, partBytes);
            }

            offsetBytes += partBytes;
            lengthBytes -= partBytes;
        }
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(GetStatus(offsetBytes, lengthBytes));
    }

    /// <inheritdoc/>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockStatus status = BlockStatus.Unallocated;
        long doneBytes = 0;
        for (int runs = 0; doneBytes < lengthBytes && runs < VhdLimits.RunsPerStatusQuery; runs++)
        {
            BlockStatusRun run = GetRun(offsetBytes + doneBytes, lengthBytes - doneBytes);
            if (doneBytes != 0 && run.Status != status)
            {
                break;
            }

            status = run.Status;
            doneBytes += run.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

    /// <inheritdoc/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        long runBytes = FindRun(offsetBytes, lengthBytes, out uint sector);
        return !_isDifferencing || sector != VhdBlockTable.Free
            ? new DepthRun(1, runBytes)
            : _parent?.GetDepth(offsetBytes, runBytes) ?? new DepthRun(0, runBytes);
    }

    /// <inheritdoc/>
    public void Abandon() => _metadata.Poison.Set(
        new BlockException(BlockErrorKind.Closed, $"'{_file.Path}' has been given up.", _file.Path));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isClosed)
        {
            return;
        }

        _isClosed = true;
        try
        {
            if (!_file.IsReadOnly)
            {
                _writeBack.Finish();
            }
        }
        finally
        {
            _writeBack.Dispose();
            _parent?.Dispose();
            _file.Dispose();
        }
    }

    private void ReadInBlock(long offsetBytes, Span<byte> part)
    {
        int block = BlockOf(offsetBytes);
        uint sector = _metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            ReadBeneath(offsetBytes, part);
            return;
        }

        long dataBytes = _metadata.DataOffsetBytes(sector);
        if (!_isDifferencing || _metadata.IsFull(block))
        {
            _file.Read(dataBytes + InBlock(offsetBytes), part);
            return;
        }

        SectorBitmap bitmap = _metadata.FindBitmap(block);
        while (!part.IsEmpty)
        {
            int runBytes = CountRunBytes(bitmap, offsetBytes, part.Length, out bool isPresent);
            if (isPresent)
            {
                _file.Read(dataBytes + InBlock(offsetBytes), part[..runBytes]);
            }
            else
            {
                ReadBeneath(offsetBytes, part[..runBytes]);
            }

            offsetBytes += runBytes;
            part = part[runBytes..];
        }
    }

    private BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        long runBytes = FindRun(offsetBytes, lengthBytes, out uint sector);
        if (sector == VhdBlockTable.Free)
        {
            return GetStatusBeneath(offsetBytes, runBytes);
        }

        // Zeroed and discarded ranges are holes of the file system.
        return VhdExtents.Find(_file, new BlockRange(_metadata.DataOffsetBytes(sector) + InBlock(offsetBytes), runBytes));
    }

    // The length of the run that one image decides, and the sector of its block; Free where this image stores nothing.
    private long FindRun(long offsetBytes, long lengthBytes, out uint sector)
    {
        int block = BlockOf(offsetBytes);
        sector = _metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            int blocks = _metadata.Table.CountFree(block, BlockOf(offsetBytes + lengthBytes - 1) - block + 1);
            long freeEndBytes = ((long)block + Math.Max(1, blocks)) << _header.BlockBits;
            return Math.Min(lengthBytes, freeEndBytes - offsetBytes);
        }

        int leftBytes = (int)Math.Min(lengthBytes, BytesLeftInBlock(offsetBytes));
        if (_isDifferencing && !_metadata.IsFull(block))
        {
            leftBytes = CountRunBytes(_metadata.FindBitmap(block), offsetBytes, leftBytes, out bool isPresent);
            sector = isPresent ? sector : VhdBlockTable.Free;
        }

        return leftBytes;
    }

    private BlockStatusRun GetStatusBeneath(long offsetBytes, long lengthBytes) => _parent is null
        ? new BlockStatusRun(BlockStatus.Unallocated, lengthBytes)
        : _parent.GetStatus(offsetBytes, lengthBytes);

    private void ReadBeneath(long offsetBytes, Span<byte> part)
    {
        if (_parent is null)
        {
            part.Clear();
        }
        else
        {
            _parent.Read(offsetBytes, part);
        }
    }

    private int CountRunBytes(SectorBitmap bitmap, long offsetBytes, int mostBytes, out bool isPresent)
    {
        int inBlock = InBlock(offsetBytes);
        int first = inBlock / VhdLimits.SectorBytes;
        int last = (inBlock + mostBytes - 1) / VhdLimits.SectorBytes;
        int count = bitmap.CountRun(first, last - first + 1, out isPresent);
        return (int)Math.Min(mostBytes, ((long)(first + count) * VhdLimits.SectorBytes) - inBlock);
    }

    private int BlockOf(long offsetBytes) => (int)(offsetBytes >> _header.BlockBits);

    private int InBlock(long offsetBytes) => (int)(offsetBytes & _blockMask);

    private int BytesLeftInBlock(long offsetBytes) => _header.BlockBytes - InBlock(offsetBytes);

    private void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (_file.IsReadOnly)
        {
            throw VhdFault.ReadOnly(_file.Path, offsetBytes, operation);
        }

        _metadata.Poison.ThrowIfSet();
    }

    private void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw VhdFault.Closed(_file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(_sizeBytes, _file.Path, operation);
    }
}
