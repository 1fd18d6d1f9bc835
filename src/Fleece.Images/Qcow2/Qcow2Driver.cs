// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Qcow2.Bitmaps;
using Fleece.Images.Qcow2.Checking;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2;

/// <summary>qcow2 images (docs/interop/qcow2.txt).</summary>
internal sealed class Qcow2Driver : IImageDriver
{
    public ImageFormat Format => ImageFormat.Qcow2;

    public INoteReplay Replay { get; } = new StagedReplay(NoteStages.Count);

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic;

    public ImageClaims Measure(IContainerFile file)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        long tableBytes = ((long)header.L1Entries * sizeof(ulong)) + ((long)header.RefcountTableClusters << header.ClusterBits);

        // No more than 2^15 bitmaps fit into the largest directory, of 2^51 bytes each.
        Int128 bitmapBytes = 0;
        foreach (ImageBitmap bitmap in BitmapDirectory.Describe(file, header))
        {
            bitmapBytes += (header.SizeBytes / bitmap.GranularitySizeBytes / 8) + 1;
        }

        return new ImageClaims(header.SizeBytes, (long)Int128.Min(tableBytes + bitmapBytes, long.MaxValue));
    }

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => Qcow2End.Find(file, limits);

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenNode(file, options, chain);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenNode(file, options, chain);

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        return info with
        {
            Type = header.BackingName is null ? ImageType.Dynamic : ImageType.Differencing,
            SizeBytes = header.SizeBytes,
            BlockSizeBytes = header.ClusterBytes,
            FormatVersion = header.Version,
            ParentPath = Qcow2References.FindParentPath(file.Path, header) ?? header.BackingName,
            ParentFormat = Qcow2References.FindParentFormat(header),
            DataFilePath = Qcow2References.FindDataFilePath(file.Path, header),
            IsDirty = header.IsDirty,
            IsCorrupt = header.IsCorrupt,
            Compression = header.Compression,
            Features = Qcow2Features.Names(header),
            Snapshots = [.. Qcow2Snapshot.ReadAll(file, header, out _).Select(snapshot => snapshot.Info)],
            Bitmaps = BitmapDirectory.Describe(file, header),
        };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent)
    {
        Qcow2LayoutOptions layoutOptions = Qcow2LayoutOptions.From(file.Path, options);
        Qcow2Layout layout = new(file.Path, layoutOptions);
        if (layoutOptions.DataFileName is not { } dataFilePath)
        {
            layout.WriteTo(file);
            return;
        }

        using LocalFile dataFile = LocalFile.Create(dataFilePath, layoutOptions.SizeBytes);
        try
        {
            dataFile.Flush();
            FileNames.FlushName(dataFilePath);
            layout.WriteTo(file);
        }
        catch
        {
            File.Delete(dataFilePath);
            throw;
        }
    }

    // An overlay knows it by its name.
    public void TakeOverIdentity(IContainerFile file, IContainerFile other) => _ = Qcow2Header.Read(file);

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        Qcow2Check.Run(file, repair, cancellationToken);

    private static ImageNode OpenNode(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        ParentImage? parent = null;
        LocalContainer? dataFile = null;
        try
        {
            parent = options.IsLayerOnly ? null : Qcow2References.OpenParent(file.Path, header, chain);
            dataFile = Qcow2References.OpenDataFile(file, header, options, chain);
            if (dataFile is not null && !file.IsReadOnly)
            {
                // A replay would have to make that file durable first.
                chain.Journal?.Refuse("its data lies in an external data file");
            }

            return Qcow2Map.Open(file, new Qcow2Attachments
            {
                Parent = parent,
                DataFile = dataFile,
                Limits = options.Untrusted,
                Snapshot = options.SnapshotName is { } name ? Qcow2Snapshot.Find(file, header, name) : null,
                Journal = chain.Journal?.Kept,
                Compression = options.Compression is ImageCompression.None ? null : options.Compression,
                MetadataCacheBytes = options.MetadataCacheBytes ?? Qcow2Limits.MetadataCacheBytes,
                GrowthBytes = options.GrowthBytes ?? Qcow2Limits.GrowthBytes,
            });
        }
        catch
        {
            parent?.Dispose();
            dataFile?.Dispose();
            throw;
        }
    }
}
