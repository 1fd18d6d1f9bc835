// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>A qcow2 image (docs/interop/qcow2.txt, versions 2 and 3) as a block node.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. What was never written, discarded or zeroed reads as zeros; backing
/// files are refused when the image is opened.</para>
/// <para>How requests stay out of each other's way. A request counts itself into <see cref="Epochs"/>, looks the
/// mapping up without a lock and does its I/O on the file. A write to a guest cluster without a host cluster takes one
/// under the metadata lock; because new clusters read as zeros, the mapping is published before the bytes are written,
/// so two writers that race for one cluster simply both write into it. A discard takes the mapping away and queues the
/// host cluster, which is zeroed and used again only when every request that may have seen the mapping has ended and
/// the disk has forgotten it (<see cref="FreedClusters"/>). So no request ever reads or writes a cluster that belongs
/// to another part of the disk by then; a write that a discard overtakes lands in a cluster nobody will read.</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread. A request may have to
/// write metadata back first when much of it has changed; then it waits for a running write-back without a
/// thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on. A
/// failed write of guest data is the request's own and poisons nothing.</para>
/// <para>Ownership. The node owns the file. <see cref="DisposeAsync"/> writes metadata back and reports if it
/// can't.</para>
/// </remarks>
internal sealed partial class Qcow2Node : IBlockNode, IImageLayer
{
    private readonly IContainerFile _file;
    private readonly Qcow2Header _header;
    private readonly Qcow2Metadata _metadata;
    private readonly MetadataWriteBack _writeBack;
    private bool _isClosed;

    private Qcow2Node(IContainerFile file, Qcow2Header header, Qcow2Metadata metadata)
    {
        _file = file;
        _header = header;
        _metadata = metadata;
        _writeBack = new MetadataWriteBack(file, metadata);
        Geometry = new BlockGeometry(header.SizeBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <summary>The tables, for tests.</summary>
    internal Qcow2Metadata Metadata => _metadata;

    /// <summary>Opens an image; on failure the file is left to the caller and has not been changed.</summary>
    /// <param name="file">The container, which the node owns from then on.</param>
    /// <param name="l2CacheBytes">Budget of the L2 cache.</param>
    /// <exception cref="BlockException">
    /// WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; read errors.
    /// </exception>
    public static Qcow2Node Open(IContainerFile file, int l2CacheBytes = Qcow2Limits.L2CacheBytes)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        if (!file.IsReadOnly)
        {
            CheckMayWrite(file.Path, header);
        }

        return new Qcow2Node(file, header, new Qcow2Metadata(file, header, l2CacheBytes));
    }

    /// <inheritdoc/>
    string IImageLayer.Path => _file.Path;

    /// <inheritdoc/>
    ImageFormat IImageLayer.Format => ImageFormat.Qcow2;

    /// <inheritdoc/>
    long IImageLayer.LengthBytes => _header.SizeBytes;

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
        int ticket = _metadata.Epochs.Enter();
        try
        {
            ReadMapped(offsetBytes, buffer);
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
    }

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
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = WholeClusters(range);
        if (whole.IsEmpty)
        {
            ZeroPart(range);
        }
        else
        {
            ZeroPart(BlockRange.FromEnds(range.OffsetBytes, whole.OffsetBytes));
            ZeroPart(BlockRange.FromEnds(whole.EndBytes, range.EndBytes));
            await DropAsync(whole, asZero: true, cancellationToken).ConfigureAwait(false);
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        BlockRange whole = WholeClusters(new BlockRange(offsetBytes, lengthBytes));
        if (!whole.IsEmpty)
        {
            await DropAsync(whole, asZero: false, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        if (!_file.IsReadOnly)
        {
            _metadata.Poison.ThrowIfSet();
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
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
        for (int tables = 0; doneBytes < lengthBytes && tables < Qcow2Limits.TablesPerStatusQuery; tables++)
        {
            MappedRun run = _metadata.Map(offsetBytes + doneBytes, lengthBytes - doneBytes, isContiguous: false);
            BlockStatus next = run.Kind switch
            {
                ClusterKind.Unallocated => BlockStatus.Unallocated,
                ClusterKind.Zero => BlockStatus.Zero,
                ClusterKind.Data => BlockStatus.Data,
                _ => throw _metadata.Unusable(run.Kind, offsetBytes + doneBytes),
            };
            if (doneBytes != 0 && next != status)
            {
                break;
            }

            status = next;
            doneBytes += run.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

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
            _file.Dispose();
        }
    }

    private static void CheckMayWrite(string path, Qcow2Header header)
    {
        if (header.IsCorrupt || header.IsDirty)
        {
            string mark = header.IsCorrupt ? "corrupt" : "dirty (a program died while it had the image open)";
            throw new BlockException(
                BlockErrorKind.Corrupt,
                $"The qcow2 image '{path}' is marked {mark} in its incompatible_features, so it can only be opened " +
                "read-only. Repair it with 'qemu-img check -r all', then open it for writing.",
                path);
        }

        if (header.SnapshotCount != 0)
        {
            throw Qcow2Fault.Unsupported(
                path,
                $"it holds {header.SnapshotCount} internal snapshots, with which Fleece does not write. Open it " +
                "read-only, or remove them with 'qemu-img snapshot -d'");
        }
    }

    private void ReadMapped(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            MappedRun run = _metadata.Map(offsetBytes, buffer.Length, isContiguous: true);
            Span<byte> part = buffer[..(int)run.LengthBytes];
            switch (run.Kind)
            {
                case ClusterKind.Data:
                    _file.Read(run.HostOffsetBytes, part);
                    break;
                case ClusterKind.Unallocated:
                case ClusterKind.Zero:
                    part.Clear();
                    break;
                default:
                    throw _metadata.Unusable(run.Kind, offsetBytes);
            }

            offsetBytes += run.LengthBytes;
            buffer = buffer[part.Length..];
        }
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        _metadata.PrepareForChange();
        int ticket = _metadata.Epochs.Enter();
        try
        {
            while (!data.IsEmpty)
            {
                MappedRun run = _metadata.Map(offsetBytes, data.Length, isContiguous: true);
                if (run.Kind != ClusterKind.Data || !run.IsCopied)
                {
                    _metadata.Allocate(offsetBytes, data.Length);
                    continue;
                }

                _file.Write(run.HostOffsetBytes, data[..(int)run.LengthBytes]);
                offsetBytes += run.LengthBytes;
                data = data[(int)run.LengthBytes..];
            }
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
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

    // A part of a cluster: zeros go into the host cluster; where there is none the part reads as zeros already.
    private void ZeroPart(BlockRange range)
    {
        int ticket = _metadata.Epochs.Enter();
        try
        {
            long atBytes = range.OffsetBytes;
            while (atBytes < range.EndBytes)
            {
                MappedRun run = _metadata.Map(atBytes, range.EndBytes - atBytes, isContiguous: true);
                switch (run.Kind)
                {
                    case ClusterKind.Unallocated:
                    case ClusterKind.Zero:
                        break;
                    case ClusterKind.Data when run.IsCopied:
                        _metadata.PrepareForChange();
                        _file.Zero(run.HostOffsetBytes, run.LengthBytes);
                        break;
                    default:
                        _metadata.Allocate(atBytes, run.LengthBytes);
                        continue;
                }

                atBytes += run.LengthBytes;
            }
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
    }

    private async ValueTask DropAsync(BlockRange whole, bool asZero, CancellationToken cancellationToken)
    {
        long cluster = whole.OffsetBytes >> _header.ClusterBits;
        long endCluster = (whole.EndBytes + _header.ClusterBytes - 1) >> _header.ClusterBits;
        while (cluster < endCluster)
        {
            if (_metadata.NeedsWriteBack)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            cluster += _metadata.Drop(cluster, endCluster - cluster, asZero);
        }

        _metadata.Reclaim();
    }

    // The last cluster of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange WholeClusters(BlockRange range)
    {
        long clusterMask = _header.ClusterBytes - 1;
        long startBytes = (range.OffsetBytes + clusterMask) & ~clusterMask;
        long endBytes = range.EndBytes == _header.SizeBytes ? range.EndBytes : range.EndBytes & ~clusterMask;
        return BlockRange.FromEnds(startBytes, endBytes);
    }

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

        _metadata.Poison.ThrowIfSet();
    }

    private void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw new BlockException(
                BlockErrorKind.Closed, $"'{_file.Path}' has been closed and takes no more requests.", _file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(_header.SizeBytes, _file.Path, operation);
    }
}
