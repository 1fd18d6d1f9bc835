// SPDX-License-Identifier: MIT
using Fleece.Block;
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
/// <para>Ownership. The node owns the file and the parent. <see cref="ImageNode.DisposeAsync"/> empties the log and reports if it
/// can't.</para>
/// </remarks>
internal sealed class VhdxNode : ImageNode
{
    private readonly VhdxHeaders _headers;
    private readonly BlockMap _map;
    private readonly VhdxReader _reader;
    private readonly MetadataCommit? _commit;
    private readonly VhdxWriter? _writer;
    private readonly VhdxZeroing? _zeroing;

    private VhdxNode(IContainerFile file, VhdxStructure structure, BatScan? scan, ParentImage? parent, ImageOpenOptions options)
        : base(file, ImageFormat.Vhdx, structure.Metadata.SizeBytes, parent, VhdxLimits.RunsPerStatusQuery)
    {
        VhdxMetadata metadata = structure.Metadata;
        FileSpace? space = file.IsReadOnly
            ? null
            : new FileSpace(file, scan, metadata.BlockBytes) { GrowthBytes = options.GrowthBytes ?? VhdxLimits.GrowthBytes };
        _headers = structure.Headers;
        _map = new BlockMap(file, structure, options.MetadataCacheBytes ?? VhdxLimits.MetadataCacheBytes, space);
        _reader = new VhdxReader(file, _map, parent);
        Poison = _map.Poison;
        SectorBytes = metadata.SectorBytes;
        if (space is not null)
        {
            BlockChanges changes = new(_map, metadata, space);
            _commit = new MetadataCommit(file, _headers, _map, changes, space, options.MustKeepIdentity);
            _writer = new VhdxWriter(file, metadata, _map, changes, _commit, _reader);
            _zeroing = new VhdxZeroing(file, metadata, _map, changes, _commit, _writer);
        }
    }

    /// <summary>What a child records of the state it was made over.</summary>
    public Guid DataWriteGuid => _headers.Current.DataWriteGuid;

    /// <summary>Logical sector size, which a child shares.</summary>
    public int SectorBytes { get; }

    /// <summary>Pages of metadata in memory, for tests.</summary>
    internal int CachedPageCount => _map.Pages.Count;

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

    public override void Read(long offsetBytes, Span<byte> buffer) => _reader.Read(offsetBytes, buffer);

    public override void ReadAhead(long offsetBytes, long lengthBytes) => _reader.ReadAhead(offsetBytes, lengthBytes);

    public override DepthRun GetDepth(long offsetBytes, long lengthBytes) => _reader.GetDepth(offsetBytes, lengthBytes);

    public override ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        return _writer!.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public override ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        return _zeroing!.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    public override ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        return _zeroing!.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public override ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        return _commit is null ? default : _commit.RunAsync(cancellationToken);
    }

    protected override BlockStatusRun GetRun(long offsetBytes, long lengthBytes) => _reader.GetRun(offsetBytes, lengthBytes);

    protected override void Close()
    {
        try
        {
            _commit?.Finish();
        }
        finally
        {
            _commit?.Dispose();
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
            ImageErrors.Corrupt,
            $"The parent '{parent.Path}' of '{path}' was changed after the child was made: its data_write_guid is {{{guid}}}, the " +
            $"child's parent_linkage is {locator.Linkage}. The child's content means nothing over it; restore the parent as it was.",
            path,
            operation: "open");
    }
}
