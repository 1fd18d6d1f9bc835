// SPDX-License-Identifier: MIT
using Fleece.Block.Buffers;
using Fleece.Images.Container;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>Reads the compressed clusters of an image.</summary>
/// <remarks>
/// <para>A read of a whole cluster is inflated where it is wanted; a smaller one comes from <see cref="InflatedClusters"/>.</para>
/// <para>Threading. Any thread, counted in <see cref="Epochs"/>, so that no place is used again under a reader.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="header">Its header.</param>
/// <param name="allocator">Tells when places were given back; null when that can't happen.</param>
internal sealed class CompressedClusters(IContainerFile file, Qcow2Header header, ClusterAllocator? allocator) : IPackedData
{
    private readonly InflatedClusters _inflated = new(header.ClusterBytes);

    /// <summary>Fills the buffer with a part of a cluster's content.</summary>
    /// <param name="run">The cluster's, or a part of it; its compressed bytes begin within the file.</param>
    /// <param name="offsetBytes">Disk offset of the buffer's first byte; the buffer ends within the same cluster.</param>
    /// <param name="buffer">Gets the bytes.</param>
    /// <exception cref="Block.BlockException">Corrupt: the bytes are no cluster; Unsupported: zstd, and its library is not
    /// there; read errors.</exception>
    public void Read(in MappedRun run, long offsetBytes, Span<byte> buffer)
    {
        CompressedExtent extent = CompressedExtent.FromEntry(run.Entry, header.ClusterBits);
        if (buffer.Length == header.ClusterBytes)
        {
            Inflate(extent, offsetBytes, buffer);
            return;
        }

        InflatedClusters.Cluster cluster = _inflated.Borrow(extent, allocator?.SharedReleases ?? 0);
        try
        {
            lock (cluster.Filling)
            {
                if (!cluster.IsFilled)
                {
                    Inflate(extent, offsetBytes, cluster.Bytes);
                    cluster.IsFilled = true;
                }
            }

            int inCluster = (int)(offsetBytes & (header.ClusterBytes - 1));
            cluster.Bytes.AsSpan(inCluster, buffer.Length).CopyTo(buffer);
        }
        finally
        {
            _inflated.Return(cluster);
        }
    }

    public void ReadAhead(in MappedRun run)
    {
        CompressedExtent extent = CompressedExtent.FromEntry(run.Entry, header.ClusterBits);
        file.ReadAhead(extent.OffsetBytes, extent.LengthBytes);
    }

    private void Inflate(CompressedExtent extent, long offsetBytes, Span<byte> cluster)
    {
        IClusterCodec codec = ClusterCodecs.Find(file.Path, header.Compression);
        PageBuffer source = PagePool.Shared.Rent(extent.LengthBytes);
        try
        {
            file.Read(extent.OffsetBytes, source.GetSpan()[..extent.LengthBytes]);
            if (!codec.TryDecompress(source.GetSpan(), extent.LengthBytes, cluster))
            {
                throw Qcow2Fault.DamagedData(
                    file.Path,
                    $"the {header.Compression} data at file offset {extent.OffsetBytes}, of at most {extent.LengthBytes} bytes, does not " +
                    $"make the cluster at disk offset {offsetBytes & -header.ClusterBytes}",
                    offsetBytes);
            }
        }
        finally
        {
            PagePool.Shared.Return(source);
        }
    }
}
