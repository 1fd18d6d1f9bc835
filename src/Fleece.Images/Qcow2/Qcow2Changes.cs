// SPDX-License-Identifier: MIT
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Compression;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>Changes the map of an image that is open for writing.</summary>
/// <remarks>
/// <code>
/// Allocation   Copies   Compressed   Drops          a change of mappings each, under the metadata lock
///      \          \         /          /
///       WritableTables -> HostClusters -> Freed     tables only this disk uses; clusters taken and given up
///             |                |
///       MappingTables   Allocator -> Refcounts      what is in memory, and what has changed in it
///              \               /
///               WriteBack                           brings it to the disk in a safe order
/// </code>
/// <para>A part knows those below it and none beside it.</para>
/// <para>Stages of a write-back:</para>
/// <code>
/// 0  refcount blocks; L2 tables that the disk's L1 does not know yet     then flush (the guest's data with it)
/// 1  refcount table entries of new blocks                                then flush
/// 2  L2 tables, L1 entries                                               then flush
/// </code>
/// <para>So nothing on disk points to a cluster before the disk counts it and has its content: a crash leaves clusters that are counted and
/// not used (leaks), never the reverse. A flush whose stage wrote nothing is left out, but for the last; so is the first when no cluster
/// was taken or filled, or nothing is to lead to one.</para>
/// <para>Ownership. It owns the write-back and nothing else.</para>
/// </remarks>
internal sealed class Qcow2Changes : IImageChanges, IStagedChanges
{
    private readonly MetadataFile _file;
    private readonly IContainerFile _dataFile;
    private readonly LiveHeader _live;
    private readonly MappingTables _tables;
    private readonly ClusterAllocator _allocator;
    private readonly FreedPlaces _freed;
    private readonly ClusterAllocation _allocation;
    private readonly ClusterDrops _drops;
    private readonly ClusterCopy _copy;
    private readonly ClusterCompressor? _compressor;
    private readonly ImageJournal? _journal;

    /// <param name="file">The image.</param>
    /// <param name="header">The header as it was read.</param>
    /// <param name="attachments">The parent, the external data file, and the compression.</param>
    /// <param name="map">The tables, and what reads them.</param>
    /// <param name="allocator">Host clusters.</param>
    /// <param name="refcounts">Their refcounts.</param>
    /// <param name="ownClusters">The clusters of the format's own tables.</param>
    public Qcow2Changes(
        IContainerFile file,
        Qcow2Header header,
        Qcow2Attachments attachments,
        Qcow2Map map,
        ClusterAllocator allocator,
        RefcountStore refcounts,
        MetadataClusters ownClusters)
    {
        _file = map.File;
        _journal = attachments.Journal;
        _dataFile = map.DataFile;
        _live = map.Header;
        _tables = map.Tables;
        _allocator = allocator;
        Refcounts = refcounts;
        SaysPartialZeroes = header.IsExtended && !header.IsDataFileRaw;
        long parentEndBytes = attachments.Parent?.Layer.LengthBytes ?? 0;
        _freed = new FreedPlaces(
            map.Epochs,
            Sync,
            Poison,
            Qcow2Limits.MaxFreedBytes >> header.ClusterBits,
            allocator.ZeroFreed,
            allocator.ReleaseFreed,
            HasRoom);
        HostClusters hosts = new(_file, header, refcounts, allocator, _freed);
        WritableTables writable = new(_file, header, _tables, hosts);
        _allocation = new ClusterAllocation(header, _live, writable, hosts, parentEndBytes);
        _drops = new ClusterDrops(header, _live, _tables, writable, hosts, _freed, attachments.DataFile, parentEndBytes, HasRoom);
        CopyPlans copies = new(header, _live, writable, hosts);
        _copy = new ClusterCopy(header, copies, _dataFile, new ImageReader(map, attachments.Parent).ReadMapped);
        if (attachments.Compression is { } compression)
        {
            CompressedPlaces places = new(header, _live, writable, hosts, refcounts, allocator);
            _compressor = new ClusterCompressor(
                file, header, map.Lookup, _drops, places, ClusterCodecs.Find(file.Path, compression));
        }

        Extensions = new ExtensionClusters(_file, _live, hosts, ownClusters, Sync);
        WriteBack = new StagedWriteBack(file, attachments.DataFile, this, stageCount: 3, _journal);
    }

    public StagedWriteBack WriteBack { get; }

    public Poison Poison => _file.Poison;

    public Lock Sync => _tables.Sync;

    public bool HasChanged => _live.HasChanged;

    public bool IsWriteBackDue => _tables.Cache.IsFullOfChanges || _freed.NeedsWriteBack || _journal is { IsDue: true };

    public IUnitDrops Drops => _drops;

    public long PunchBytes => 0;

    public bool SaysPartialZeroes { get; }

    /// <summary>Clusters of header extensions.</summary>
    public ExtensionClusters Extensions { get; }

    /// <summary>The refcounts, for tests.</summary>
    internal RefcountStore Refcounts { get; }

    public void Prepare() => _live.PrepareForChange();

    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes)
    {
        doneBytes = 0;
        if (!HasRoom())
        {
            return false;
        }

        doneBytes = _compressor?.Write(offsetBytes, data) ?? 0;
        if (doneBytes == 0 && !_allocation.Allocate(offsetBytes, data.Length))
        {
            doneBytes = _copy.Write(offsetBytes, data.Length, data);
        }

        return true;
    }

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes)
    {
        doneBytes = 0;
        if (!HasRoom())
        {
            return false;
        }

        if (SaysPartialZeroes && _drops.TryZeroSubclusters(offsetBytes, run.LengthBytes, out doneBytes))
        {
            return true;
        }

        doneBytes = run.LengthBytes;
        if (run.IsWritable)
        {
            _dataFile.Zero(run.FileOffsetBytes, doneBytes);
        }
        else if (run.Kind == RunKind.Data && _allocation.Allocate(offsetBytes, doneBytes))
        {
            doneBytes = 0;
        }
        else
        {
            doneBytes = _copy.Write(offsetBytes, doneBytes, default);
        }

        return true;
    }

    public void Capture(StagedWrites writes)
    {
        const int First = 0;
        const int Second = 1;
        const int Third = 2;
        _freed.BeginWriteBack();
        Refcounts.Capture(writes, First, Second);
        _tables.Capture(writes, First, Third);
        if (_allocator.HasAllocated && !(writes.IsEmpty(Second) && writes.IsEmpty(Third)))
        {
            writes.Flush(First);
        }

        if (!writes.IsEmpty(Second))
        {
            writes.Flush(Second);
        }

        writes.Flush(Third);
        _allocator.HasAllocated = false;
    }

    public void EndWriteBack()
    {
        Refcounts.EndWriteBack();
        _tables.EndWriteBack();
        _freed.EndWriteBack();
    }

    public void Reclaim() => _freed.Reclaim();

    public void Finish()
    {
        lock (Sync)
        {
            foreach ((long cluster, long count) in _allocator.Abandoned)
            {
                _allocator.Release(cluster, count);
            }

            _allocator.Abandoned.Clear();
            _allocator.TrimFile();
            Refcounts.WriteDirtyBlocks();
            _file.Flush();
        }
    }

    private bool HasRoom() => _journal is not { HasRoom: false };
}
