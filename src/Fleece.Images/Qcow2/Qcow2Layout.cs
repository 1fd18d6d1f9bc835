// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>A new, empty image.</summary>
/// <remarks>
/// <code>
/// cluster 0                header, extensions, the parent's name
/// then                     refcount table, long enough for the full disk where the limit allows
/// then                     refcount blocks that count these clusters
/// then                     L1 table, all zero: a hole
/// </code>
/// </remarks>
internal sealed class Qcow2Layout
{
    private const int HeaderV3Bytes = 112;

    private readonly Qcow2LayoutOptions _options;

    /// <summary>Works the layout out.</summary>
    /// <exception cref="BlockException">InvalidArgument: too many clusters for one L1 table, or names that don't fit the
    /// first cluster.</exception>
    public Qcow2Layout(string path, Qcow2LayoutOptions options)
    {
        _options = options;
        Extensions = ExtensionsOf(options);
        int headBytes = HeaderBytes + Extensions.SizeBytes() + Encoding.UTF8.GetByteCount(options.BackingName ?? string.Empty);
        if (headBytes > ClusterBytes)
        {
            throw TooLarge(path, $"its header would take {headBytes} bytes with the paths it records");
        }

        long tableBytes = (long)ClusterBytes * (ClusterBytes / (options.HasSubclusters ? 16 : 8));
        long l1Entries = ((options.SizeBytes - 1) / tableBytes) + 1;
        if (l1Entries > Qcow2Limits.MaxL1Bytes / sizeof(ulong))
        {
            throw TooLarge(path, $"the L1 table of its disk of {options.SizeBytes} bytes would have {l1Entries} entries");
        }

        L1Entries = (int)l1Entries;
        long l1Clusters = Clusters(l1Entries * sizeof(ulong));
        long perBlock = (long)ClusterBytes * 8 >> options.RefcountOrder;
        long dataClusters = (options.DataFileName is null ? Clusters(options.SizeBytes) : 0) + l1Entries;
        long fullBlocks = ((dataClusters + l1Clusters) / perBlock * (perBlock + 1) / perBlock) + 2;
        long tableClusters = Math.Clamp(
            Clusters(fullBlocks * sizeof(ulong)), 1, Math.Max(1, Qcow2Limits.MaxRefcountTableBytes >> options.ClusterBits));
        RefcountTableClusters = (int)tableClusters;
        long blocks = 1;
        while (blocks * perBlock < 1 + tableClusters + blocks + l1Clusters)
        {
            blocks++;
        }

        RefcountBlocks = (int)blocks;
        UsedClusters = (int)(1 + tableClusters + blocks + l1Clusters);
    }

    public int L1Entries { get; }

    public int RefcountTableClusters { get; }

    public int RefcountBlocks { get; }

    /// <summary>Clusters of the new file; each has refcount 1.</summary>
    public int UsedClusters { get; }

    private IReadOnlyList<HeaderExtension> Extensions { get; }

    private int ClusterBytes => 1 << _options.ClusterBits;

    private int HeaderBytes => _options.Version == 2 ? Qcow2Header.LengthV2Bytes : HeaderV3Bytes;

    /// <summary>Writes the image into an empty file, the header last, and makes it durable.</summary>
    public void WriteTo(IContainerFile file)
    {
        file.SetLength((long)UsedClusters << _options.ClusterBits);
        long firstBlock = 1L + RefcountTableClusters;
        byte[] table = new byte[RefcountBlocks * sizeof(ulong)];
        for (int i = 0; i < RefcountBlocks; i++)
        {
            long offsetBytes = (firstBlock + i) << _options.ClusterBits;
            RefcountBlock block = new(i, offsetBytes, ClusterBytes, _options.RefcountOrder);
            int used = (int)Math.Min(block.Count, UsedClusters - ((long)i * block.Count));
            for (int cluster = 0; cluster < used; cluster++)
            {
                block.Set(cluster, 1);
            }

            file.Write(offsetBytes, block.Bytes);
            BinaryPrimitives.WriteInt64BigEndian(table.AsSpan(i * sizeof(ulong)), offsetBytes);
        }

        file.Write(ClusterBytes, table);
        file.Flush();
        WriteHeader(file);
        file.Flush();
    }

    private static List<HeaderExtension> ExtensionsOf(Qcow2LayoutOptions options)
    {
        List<HeaderExtension> extensions = [];
        if (options.BackingName is not null)
        {
            extensions.Add(new HeaderExtension(
                HeaderExtensions.BackingFormat, Encoding.UTF8.GetBytes(Qcow2References.NameOf(options.BackingFormat))));
        }

        if (options.DataFileName is { } name)
        {
            extensions.Add(new HeaderExtension(HeaderExtensions.DataFileName, Encoding.UTF8.GetBytes(name)));
        }

        return extensions;
    }

    private static BlockException TooLarge(string path, string why) => new(
        BlockErrors.InvalidArgument,
        $"Cannot create the qcow2 image '{path}' with such small clusters: {why}. Choose larger clusters.",
        path);

    private void WriteHeader(IContainerFile file)
    {
        byte[] name = Encoding.UTF8.GetBytes(_options.BackingName ?? string.Empty);
        int nameOffsetBytes = HeaderBytes + Extensions.SizeBytes();
        byte[] header = new byte[nameOffsetBytes + name.Length];
        BinaryPrimitives.WriteUInt32BigEndian(header, Qcow2Header.Magic);
        Put32(header, 4, _options.Version);
        if (name.Length != 0)
        {
            Put64(header, 8, nameOffsetBytes);
            Put32(header, 16, name.Length);
        }

        Put32(header, 20, _options.ClusterBits);
        Put64(header, 24, _options.SizeBytes);
        Put32(header, 36, L1Entries);
        Put64(header, 40, (1L + RefcountTableClusters + RefcountBlocks) << _options.ClusterBits);
        Put64(header, Qcow2Header.RefcountTableOffsetField, ClusterBytes);
        Put32(header, 56, RefcountTableClusters);
        if (_options.Version == 3)
        {
            Put64(header, Qcow2Header.IncompatibleField, (long)IncompatibleFeatures());
            Put32(header, 96, _options.RefcountOrder);
            Put32(header, 100, HeaderV3Bytes);
            header[Qcow2Header.CompressionTypeField] = (byte)(_options.IsZstd ? Qcow2Header.CompressionZstd : 0);
        }

        Extensions.CopyTo(header.AsSpan(HeaderBytes));
        name.CopyTo(header, nameOffsetBytes);
        file.Write(0, header);
    }

    private ulong IncompatibleFeatures() =>
        (_options.DataFileName is null ? 0 : Qcow2Header.DataFileBit)
        | (_options.IsZstd ? Qcow2Header.CompressionTypeBit : 0)
        | (_options.HasSubclusters ? Qcow2Header.ExtendedL2Bit : 0);

    private static void Put32(byte[] header, int at, int value) =>
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(at), value);

    private static void Put64(byte[] header, int at, long value) =>
        BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(at), value);

    private long Clusters(long bytes) => (bytes + ClusterBytes - 1) >> _options.ClusterBits;
}
