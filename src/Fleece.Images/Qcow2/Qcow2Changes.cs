// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>The parts that change the tables of an image that is open for writing.</summary>
/// <remarks>
/// <code>
/// Allocation   Copies   Compressed   Drops          a change of mappings each, under the metadata lock
///      \          \         /          /
///       WritableTables -> HostClusters -> Reclaim   tables only this disk uses; clusters taken and given up
///             |                |
///       MappingTables   Allocator -> Refcounts      what is in memory, and what has changed in it
///              \               /
///               WriteBack                           brings it to the disk in a safe order
/// </code>
/// <para>A part knows those below it and none beside it.</para>
/// <para>Ownership. It owns the write-back and nothing else.</para>
/// </remarks>
internal sealed class Qcow2Changes
{
    /// <param name="metadata">The tables, and what reads them.</param>
    /// <param name="header">The header as it was read.</param>
    /// <param name="attachments">Where the parent ends, and the external data file.</param>
    /// <param name="allocator">Host clusters.</param>
    /// <param name="refcounts">Their refcounts.</param>
    /// <param name="ownClusters">The clusters of the format's own tables.</param>
    public Qcow2Changes(
        Qcow2Metadata metadata,
        Qcow2Header header,
        Qcow2Attachments attachments,
        ClusterAllocator allocator,
        RefcountStore refcounts,
        MetadataClusters ownClusters)
    {
        MetadataFile file = metadata.File;
        LiveHeader live = metadata.Header;
        MappingTables tables = metadata.Tables;
        long parentEndBytes = attachments.Parent?.Layer.LengthBytes ?? 0;
        MetadataFile? dataFile = attachments.DataFile is { } data ? new MetadataFile(data, file.Poison) : null;
        Refcounts = refcounts;
        Allocator = allocator;
        Reclaim = new ClusterReclaim(file, header, allocator, metadata.Epochs, tables.Sync);
        HostClusters hosts = new(file, header, refcounts, allocator, Reclaim);
        WritableTables writable = new(file, header, tables, hosts);
        Allocation = new ClusterAllocation(header, live, writable, hosts, parentEndBytes);
        Copies = new CopyPlans(header, live, writable, hosts);
        Compressed = new CompressedPlaces(header, live, writable, hosts, refcounts, allocator);
        Drops = new ClusterDrops(header, live, tables, writable, hosts, parentEndBytes);
        Extensions = new ExtensionClusters(file, live, hosts, ownClusters, tables.Sync);
        WriteBack = new MetadataWriteBack(file, dataFile, tables, live, refcounts, allocator, Reclaim);
    }

    public RefcountStore Refcounts { get; }

    public ClusterAllocator Allocator { get; }

    public ClusterReclaim Reclaim { get; }

    public ClusterAllocation Allocation { get; }

    public CopyPlans Copies { get; }

    public CompressedPlaces Compressed { get; }

    public ClusterDrops Drops { get; }

    public ExtensionClusters Extensions { get; }

    public MetadataWriteBack WriteBack { get; }
}
