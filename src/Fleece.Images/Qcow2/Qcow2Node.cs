// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Checking;
using Fleece.Images.Qcow2.Compression;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>A qcow2 image (docs/interop/qcow2.txt, versions 2 and 3) as a block node.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. What the image does not store reads as its parent, behind the parent's
/// end and without one as zeros. What was discarded or zeroed reads as zeros, never as the parent.</para>
/// <para>How requests stay out of each other's way. A request counts itself into <see cref="Epochs"/>, looks the
/// mapping up without a lock and does its I/O on the file. A write to a guest cluster that has neither a host cluster
/// nor content takes one under the metadata lock; because new clusters read as zeros, the mapping is published before
/// the bytes are written, so two writers that race for one cluster simply both write into it. A write to a cluster
/// with content elsewhere, in a parent, a snapshot or compressed, goes through <see cref="ClusterCopy"/>. A discard
/// takes the mapping away and queues the host cluster, which is zeroed and used again only when every request that may
/// have seen the mapping has ended and the disk has forgotten it (<see cref="FreedClusters"/>). So no request ever reads
/// or writes a cluster that belongs to another part of the disk by then; a write that a discard overtakes lands in a
/// cluster nobody will read.</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread. A request may have to
/// write metadata back first when much of it has changed; then it waits for a running write-back without a
/// thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on. A
/// failed write of guest data is the request's own and poisons nothing.</para>
/// <para>Ownership. The node owns the file, the parent and the data file. <see cref="FormatNode.DisposeAsync"/> writes metadata back
/// and reports if it can't.</para>
/// </remarks>
internal sealed class Qcow2Node : FormatNode, IBitmapImage
{
    private readonly IContainerFile? _dataFile;
    private readonly Qcow2Metadata _metadata;
    private readonly Qcow2Reader _reader;
    private readonly Qcow2Writer? _writer;
    private readonly Qcow2Zeroing? _zeroing;
    private readonly ImageBitmaps _bitmaps;

    private Qcow2Node(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
        : base(file, ImageFormat.Qcow2, header.SizeBytes, attachments.Parent, Qcow2Limits.SlicesPerStatusQuery)
    {
        _dataFile = attachments.DataFile;
        IContainerFile dataFile = _dataFile ?? file;
        _metadata = new Qcow2Metadata(file, header, attachments);
        Poison = _metadata.File.Poison;
        _reader = new Qcow2Reader(file, dataFile, attachments.Parent, header, _metadata);
        _bitmaps = new ImageBitmaps(file, header, _metadata);
        if (_metadata.Changes is { } changes)
        {
            ClusterCompressor? compressor = attachments.Compression is { } compression
                ? new ClusterCompressor(
                    file, header, _metadata.Lookup, changes.Drops, changes.Compressed, ClusterCodecs.Find(file.Path, compression))
                : null;
            ClusterCopy copy = new(header, changes.Copies, dataFile, _reader.ReadMapped);
            _writer = new Qcow2Writer(dataFile, _metadata, changes, copy, compressor);
            _zeroing = new Qcow2Zeroing(dataFile, attachments.Parent, header, _metadata, changes, copy);
        }
    }

    public bool HasRoomForBitmaps => _bitmaps.HasRoom;

    public string? BitmapsNote => _bitmaps.Note;

    /// <summary>The tables, for tests.</summary>
    internal Qcow2Metadata Metadata => _metadata;

    /// <summary>Opens an image; on failure everything is left to the caller.</summary>
    /// <param name="file">The container, which the node owns from then on, as it does the attachments.</param>
    /// <param name="attachments">Parent, data file and options; null for none.</param>
    /// <exception cref="BlockException">
    /// WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; read errors. A dirty image that is opened
    /// for writing has its refcounts rebuilt; no other file is changed.
    /// </exception>
    public static Qcow2Node Open(IContainerFile file, Qcow2Attachments? attachments = null)
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

        return new Qcow2Node(file, header, attachments);
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
        return _metadata.Changes is { } changes ? changes.WriteBack.RunAsync(cancellationToken) : default;
    }

    public IReadOnlyList<StoredBitmap> ReadBitmaps() => _bitmaps.Read();

    public void KeepBitmaps() => _bitmaps.Keep();

    public void WriteBitmaps(IReadOnlyList<StoredBitmap> bitmaps) => _bitmaps.Write(bitmaps);

    protected override BlockStatusRun GetRun(long offsetBytes, long lengthBytes) => _reader.GetRun(offsetBytes, lengthBytes);

    protected override void Close()
    {
        try
        {
            _metadata.Changes?.WriteBack.Finish();
        }
        finally
        {
            _metadata.Changes?.WriteBack.Dispose();
            _dataFile?.Dispose();
        }
    }

    private static void CheckAttachments(IContainerFile file, Qcow2Header header, Qcow2Attachments attachments)
    {
        if (header.HasDataFile != (attachments.DataFile is not null))
        {
            throw Qcow2Fault.Unsupported(file.Path, "its data lies in an external data file, which is not there");
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
