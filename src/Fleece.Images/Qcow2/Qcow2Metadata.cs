// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>The tables of an image, and the parts that read and change them.</summary>
/// <remarks>
/// <para>A guest offset splits into L1 index, L2 index and offset in the cluster (qcow2.txt, "Cluster mapping"); an L2
/// table is one cluster of 8-byte entries, or of 16-byte ones that map subclusters ("Extended L2 Entries"). Of a table,
/// slices are kept in memory.</para>
/// <para>Threading. Mappings are looked up without a lock as long as the L2 slice is in memory. Slices are loaded and
/// changed under <see cref="MappingTables.Sync"/>, which is never held across the guest's own I/O.</para>
/// </remarks>
internal sealed class Qcow2Metadata
{
    /// <summary>Reads the L1 table, and for a writable image the refcount table and the snapshots' tables.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt, and read errors.</exception>
    public Qcow2Metadata(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
    {
        File = new MetadataFile(file, new Poison(cause => Qcow2Fault.Stopped(file.Path, cause)));
        ulong[] l1 = L1Table.Read(file, header, header.L1OffsetBytes, header.L1Entries);
        RefcountStore? refcounts = null;
        ClusterAllocator? allocator = null;
        MetadataClusters? ownClusters = null;
        if (!file.IsReadOnly)
        {
            refcounts = new RefcountStore(File, header, Qcow2Limits.RefcountShare(attachments.MetadataCacheBytes));
            allocator = new ClusterAllocator(File, header, refcounts) { GrowthBytes = attachments.GrowthBytes };
            ownClusters = MetadataClusters.Read(file, header, l1, refcounts);
        }

        SliceValidator validator = new(header, refcounts, allocator, ownClusters);
        Tables = new MappingTables(File, header, l1, validator, Qcow2Limits.L2Share(attachments.MetadataCacheBytes));
        Lookup = new MappingLookup(header, Tables);
        Header = new LiveHeader(File, header, Tables.Sync);
        Changes = refcounts is null || allocator is null || ownClusters is null
            ? null
            : new Qcow2Changes(this, header, attachments, allocator, refcounts, ownClusters);
    }

    /// <summary>The image, as metadata is written to it.</summary>
    public MetadataFile File { get; }

    /// <summary>Counts the requests that may use what <see cref="Lookup"/> has told them.</summary>
    public Epochs Epochs { get; } = new();

    public LiveHeader Header { get; }

    public MappingTables Tables { get; }

    public MappingLookup Lookup { get; }

    /// <summary>Null for a read-only image.</summary>
    public Qcow2Changes? Changes { get; }
}
