// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>A VHDX image (MS-VHDX) as a block node: fixed, dynamic or differencing.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. What the image does not store comes from its parent, or reads as
/// zeros.</para>
/// <para>How requests stay out of each other's way. A request counts itself into <see cref="Epochs"/>, looks the block up
/// without a lock and does its I/O on the file. A block that reads as zeros gets space that reads as zeros, so its
/// entry is changed before the bytes are written. Where the parent shows through it is the other way round: first the sectors are
/// written, then their bits are set, so that neither readers nor a crash see sectors without content; writers of one
/// block take turns for that. A discard takes the entry away and queues the space, which is used again only when every
/// request that may have seen it has ended and the log has the change (<see cref="FileSpace"/>).</para>
/// <para>Opening changes nothing in the file but for a log that waits to be replayed; the headers are changed before the first
/// change of anything else (<see cref="MetadataCommit"/>).</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread, unless a commit must make
/// room for changed metadata first, for which they wait without a thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on. A
/// failed write of guest data is the request's own and poisons nothing.</para>
/// <para>Ownership. The node owns the file and the parent. <see cref="DisposeAsync"/> empties the log and reports if it
/// can't.</para>
/// </remarks>
internal sealed partial class VhdxNode : IBlockNode, IReadAhead, IImageLayer, IAbandonable
{
    private readonly IContainerFile _file;
    private readonly VhdxHeaders _headers;
    private readonly VhdxMetadata _metadata;
    private readonly ParentImage? _parent;
    private readonly BlockMap _map;
    private readonly MetadataCommit? _commit;
    private readonly int _blockBits;
    private bool _isClosed;

    private VhdxNode(IContainerFile file, VhdxStructure structure, BatScan? scan, ParentImage? parent, ImageOpenOptions options)
    {
        _file = file;
        _headers = structure.Headers;
        _metadata = structure.Metadata;
        _parent = parent;
        _blockBits = BitOperations.Log2((uint)_metadata.BlockBytes);
        FileSpace? space = file.IsReadOnly ? null : new FileSpace(file, scan, _metadata.BlockBytes);
        _map = new BlockMap(file, structure, options.MetadataCacheBytes ?? VhdxLimits.MetadataCacheBytes, space);
        _commit = space is null ? null : new MetadataCommit(file, structure.Headers, _map, space, options.MustKeepIdentity);
        Geometry = new BlockGeometry(_metadata.SizeBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    string IImageLayer.Path => _file.Path;

    /// <inheritdoc/>
    ImageFormat IImageLayer.Format => ImageFormat.Vhdx;

    /// <inheritdoc/>
    long IImageLayer.LengthBytes => _metadata.SizeBytes;

    /// <inheritdoc/>
    IImageLayer? IImageLayer.Parent => _parent?.Layer;

    /// <summary>What a child records of the state it was made over.</summary>
    public Guid DataWriteGuid => _headers.Current.DataWriteGuid;

    /// <summary>Pages of metadata in memory, for tests.</summary>
    internal int CachedPageCount => _map.Pages.Count;

    /// <summary>Logical sector size, which a child shares.</summary>
    public int SectorBytes => _metadata.SectorBytes;

    /// <summary>Opens an image; on failure the file is left to the caller.</summary>
    /// <param name="file">The container, which the node owns from then on.</param>
    /// <param name="options">How.</param>
    /// <param name="chain">Opens the parent.</param>
    /// <exception cref="BlockException">WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; why the parent
    /// can't be opened; I/O errors.</exception>
    public static VhdxNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        if (options.SnapshotName is not null)
        {
            throw VhdxFault.Unsupported(file.Path, $"it has no internal snapshots, so none is called '{options.SnapshotName}'");
        }

        VhdxStructure structure = VhdxStructure.Read(file);
        if (!file.IsReadOnly && !structure.Headers.Current.HasLog)
        {
            throw VhdxFault.Unsupported(
                file.Path,
                "its header's log_length is 0, and a change of its tables needs a log. Open it read-only, or convert it with " +
                "Convert-FleeceImage and use the copy");
        }

        BatScan? scan = file.IsReadOnly ? null : ScanBeforeWriting(file, structure);
        ParentImage? parent = structure.Metadata.Locator is { } locator && !options.IsLayerOnly
            ? OpenParent(file.Path, locator, chain)
            : null;
        try
        {
            if (file.IsReadOnly)
            {
                return new VhdxNode(structure.Replayed ?? file, structure, null, parent, options);
            }

            ReplayLog(file, structure);
            return new VhdxNode(file, structure, scan, parent, options);
        }
        catch
        {
            parent?.Dispose();
            throw;
        }
    }

    /// <summary>Replays the log of an image into its file; it does nothing when the log is empty.</summary>
    public static void ReplayLog(IContainerFile file, VhdxStructure structure)
    {
        if (structure.Replayed is { } replayed)
        {
            structure.Headers.Update(header => header with { FileWriteGuid = Guid.NewGuid() });
            replayed.Replay();
            structure.Headers.Update(header => header with { LogGuid = Guid.Empty });
        }
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
        int ticket = _map.Epochs.Enter();
        try
        {
            while (!buffer.IsEmpty)
            {
                MappedRun run = _map.Map(offsetBytes, buffer.Length);
                Span<byte> part = buffer[..(int)run.LengthBytes];
                if (run.Kind == RunKind.Data)
                {
                    _file.Read(run.FileOffsetBytes, part);
                }
                else if (run.Kind == RunKind.Parent && _parent is not null)
                {
                    _parent.Read(offsetBytes, part);
                }
                else
                {
                    part.Clear();
                }

                offsetBytes += run.LengthBytes;
                buffer = buffer[part.Length..];
            }
        }
        finally
        {
            _map.Epochs.Exit(ticket);
        }
    }

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <inheritdoc cref="IReadAhead.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            MappedRun run = _map.Map(offsetBytes, lengthBytes);
            if (run.Kind == RunKind.Data)
            {
                _file.ReadAhead(run.FileOffsetBytes, run.LengthBytes);
            }
            else if (run.Kind == RunKind.Parent)
            {
                _parent?.ReadAhead(offsetBytes, run.LengthBytes);
            }

            offsetBytes += run.LengthBytes;
            lengthBytes -= run.LengthBytes;
        }
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(GetStatus(offsetBytes, lengthBytes));
    }

    /// <inheritdoc/>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockStatus status = BlockStatus.Unallocated;
        long doneBytes = 0;
        for (int runs = 0; doneBytes < lengthBytes && runs < VhdxLimits.RunsPerStatusQuery; runs++)
        {
            BlockStatusRun next = GetRun(offsetBytes + doneBytes, lengthBytes - doneBytes);
            if (doneBytes != 0 && next.Status != status)
            {
                break;
            }

            status = next.Status;
            doneBytes += next.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

    /// <inheritdoc/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _map.Map(offsetBytes, lengthBytes);
        return run.Kind == RunKind.Parent
            ? _parent?.GetDepth(offsetBytes, run.LengthBytes) ?? new DepthRun(0, run.LengthBytes)
            : new DepthRun(1, run.LengthBytes);
    }

    /// <inheritdoc/>
    public void Abandon() => _map.Poison.Set(
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
            _commit?.Finish();
        }
        finally
        {
            _commit?.Dispose();
            _parent?.Dispose();
            _file.Dispose();
        }
    }

    // A damaged image is never written to, so its BAT is looked at before; a very large one only where it is used.
    private static BatScan? ScanBeforeWriting(IContainerFile file, VhdxStructure structure) =>
        structure.Metadata.BatEntryCount * sizeof(ulong) <= VhdxLimits.ScannedBatBytes
            ? new BatScan(structure.Replayed ?? file, structure, fault => throw fault)
            : null;

    private static ParentImage OpenParent(string path, ParentLocator locator, ImageChain chain) =>
        chain.OpenParent(path, locator.Candidates(path), ImageFormat.Vhdx, parent => FindMismatch(path, locator, parent));

    private static BlockException? FindMismatch(string path, ParentLocator locator, IContainerFile parent)
    {
        Guid guid = VhdxStructure.ReadHeaders(parent).Current.DataWriteGuid;
        return locator.Means(guid) ? null : new BlockException(
            BlockErrorKind.Corrupt,
            $"The parent '{parent.Path}' of '{path}' was changed after the child was made: its data_write_guid is {{{guid}}}, the " +
            $"child's parent_linkage is {locator.Linkage}. The child's content means nothing over it; restore the parent as it was.",
            path,
            operation: "open");
    }

    private BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _map.Map(offsetBytes, lengthBytes);
        return run.Kind switch
        {
            RunKind.Parent when _parent is not null => _parent.GetStatus(offsetBytes, run.LengthBytes),
            RunKind.Data => new BlockStatusRun(BlockStatus.Data, run.LengthBytes),
            RunKind.Zero => new BlockStatusRun(BlockStatus.Zero, run.LengthBytes),
            _ => new BlockStatusRun(BlockStatus.Unallocated, run.LengthBytes),
        };
    }

    private void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw new BlockException(
                BlockErrorKind.Closed, $"'{_file.Path}' has been closed and takes no more requests.", _file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(_metadata.SizeBytes, _file.Path, operation);
    }
}
