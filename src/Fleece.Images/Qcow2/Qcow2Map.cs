// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Checking;
using Fleece.Images.Qcow2.Compression;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>The map of a qcow2 image (docs/interop/qcow2.txt, versions 2 and 3): its tables, and the parts that read and change them.
/// </summary>
/// <remarks>
/// <para>A guest offset splits into L1 index, L2 index and offset in the cluster (qcow2.txt, "Cluster mapping"); an L2 table is one cluster
/// of 8-byte entries, or of 16-byte ones that map subclusters ("Extended L2 Entries"). Of a table, slices are kept in memory.</para>
/// <para>The parent shows through clusters that the image does not store. Discarded and zeroed ones read as zeros, never as the
/// parent.</para>
/// <para>How requests stay out of each other's way, beside what <see cref="ImageWriter"/> says. A write to a guest cluster that has neither
/// a host cluster nor content takes one under the metadata lock; because new clusters read as zeros, the mapping is published before the
/// bytes are written, so two writers that race for one cluster both write into it. A write to a cluster with content elsewhere, in a
/// parent, a snapshot or compressed, goes through <see cref="Changing.ClusterCopy"/>. A discard takes the mapping away and queues the host
/// cluster (<see cref="FreedPlaces"/>).</para>
/// <para>Threading. As <see cref="IImageMap"/> says. Mappings are looked up without a lock as long as the L2 slice is in memory. Slices are
/// loaded and changed under <see cref="MappingTables.Sync"/>, which is never held across the guest's own I/O.</para>
/// <para>Ownership. It owns the external data file.</para>
/// </remarks>
internal sealed class Qcow2Map : IImageMap, IBitmapHolder
{
    private readonly IContainerFile? _externalDataFile;

    // Reads the L1 table, and for a writable image the refcount table and the snapshots' tables.
    private Qcow2Map(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
    {
        _externalDataFile = attachments.DataFile;
        SizeBytes = header.SizeBytes;
        DataFile = _externalDataFile ?? file;
        File = new MetadataFile(file, new Poison(cause => FormatFault.Qcow2.Stopped(file.Path, cause)));
        ulong[] l1 = L1Table.Read(file, header, header.L1OffsetBytes, header.L1Entries);
        ImageJournal? journal = file.IsReadOnly ? null : attachments.Journal;
        RefcountStore? refcounts = null;
        ClusterAllocator? allocator = null;
        MetadataClusters? ownClusters = null;
        if (!file.IsReadOnly)
        {
            refcounts = new RefcountStore(File, header, Qcow2Limits.RefcountShare(attachments.MetadataCacheBytes), journal);
            allocator = new ClusterAllocator(File, header, refcounts) { GrowthBytes = attachments.GrowthBytes };
            ownClusters = MetadataClusters.Read(file, header, l1, refcounts);
        }

        SliceValidator validator = new(header, refcounts, allocator, ownClusters);
        Tables = new MappingTables(File, header, l1, validator, Qcow2Limits.L2Share(attachments.MetadataCacheBytes), journal);
        Lookup = new MappingLookup(header, Tables, file.Path);
        Packed = new CompressedClusters(file, header, allocator);
        Header = new LiveHeader(File, header, Tables.Sync);
        Changes = refcounts is null || allocator is null || ownClusters is null
            ? null
            : new Qcow2Changes(file, header, attachments, this, allocator, refcounts, ownClusters);
        Bitmaps = new ImageBitmaps(file, header, this);
    }

    public ImageFormat Format => ImageFormat.Qcow2;

    public long SizeBytes { get; }

    public IContainerFile DataFile { get; }

    public bool HasHoles => false;

    public int RunsPerStatusQuery => Qcow2Limits.SlicesPerStatusQuery;

    public Epochs Epochs { get; } = new();

    public IPackedData Packed { get; }

    public IBitmapImage Bitmaps { get; }

    /// <summary>Null for a read-only image.</summary>
    public Qcow2Changes? Changes { get; }

    IImageChanges? IImageMap.Changes => Changes;

    /// <summary>The image, as metadata is written to it.</summary>
    public MetadataFile File { get; }

    public LiveHeader Header { get; }

    public MappingTables Tables { get; }

    public MappingLookup Lookup { get; }

    /// <summary>Opens an image; on failure everything is left to the caller.</summary>
    /// <param name="file">The container, which the node owns from then on, as it does the attachments.</param>
    /// <param name="attachments">Parent, data file and options; null for none.</param>
    /// <exception cref="BlockException">
    /// WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; read errors. A dirty image that is opened
    /// for writing has its refcounts rebuilt; no other file is changed.
    /// </exception>
    public static ImageNode Open(IContainerFile file, Qcow2Attachments? attachments = null)
    {
        attachments ??= Qcow2Attachments.None;
        Qcow2Header header = Qcow2Header.Read(file);
        CheckAttachments(file, header, attachments);
        if (header.IsDirty && !file.IsReadOnly)
        {
            Qcow2Check.RebuildRefcounts(file, attachments.Limits);
            header = Qcow2Header.Read(file);
        }

        if (attachments.Snapshot is { } snapshot)
        {
            header = snapshot.Apply(header);
        }

        return new ImageNode(file, new Qcow2Map(file, header, attachments), attachments.Parent);
    }

    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous) => Lookup.Map(offsetBytes, lengthBytes, isContiguous);

    public void Dispose() => _externalDataFile?.Dispose();

    private static void CheckAttachments(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
    {
        if (header.HasDataFile != (attachments.DataFile is not null))
        {
            throw FormatFault.Qcow2.Unsupported(file.Path, "its data lies in an external data file, which is not there");
        }

        if (!file.IsReadOnly)
        {
            ClusterCompressor.Check(file.Path, header, attachments.Compression);
            CheckMayWrite(file.Path, header, attachments);
        }
    }

    private static void CheckMayWrite(string path, Qcow2Header header, Qcow2Attachments attachments)
    {
        if (header.IsCorrupt)
        {
            throw new BlockException(
                ImageErrors.Corrupt,
                $"The qcow2 image '{path}' is marked corrupt in its incompatible_features (bit 1), so it can only be " +
                "opened read-only. Repair it with 'Test-FleeceImage -Repair All', then open it for writing.",
                path);
        }

        if (header.BackingName is { } name && attachments.Parent is null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The qcow2 image '{path}' has the backing file '{name}'; without it, it can only be opened read-only.",
                path);
        }
    }
}
