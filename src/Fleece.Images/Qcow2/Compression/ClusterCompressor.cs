// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Buffers;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>Compresses whole clusters that are written for the first time.</summary>
/// <remarks>
/// <para>A cluster is compressed on the thread that writes it, so several writers use several processors. Then, under the
/// metadata lock, a place is counted for it behind the one before, to the byte; the data is written outside the lock; and the
/// mapping is published when it is there, unless the cluster has been given something else meanwhile. The write-back makes data
/// durable before mappings, so a crash leaves places that are counted and not used.</para>
/// <para>Whatever does not fit this is left to the ordinary write: parts of clusters, clusters that have a place, and data that
/// does not get smaller.</para>
/// <para>Threading. Any thread, counted in <see cref="Epochs"/>.</para>
/// </remarks>
internal sealed class ClusterCompressor(
    IContainerFile file, Qcow2Header header, MappingLookup lookup, ClusterDrops drops, CompressedPlaces places, IClusterCodec codec)
{
    // Data that gets smaller by less than this share of the cluster is not worth inflating at every read.
    private const int LeastGain = 16;

    /// <summary>Refuses a compression that is not the image's.</summary>
    /// <exception cref="BlockException">InvalidArgument.</exception>
    public static void Check(string path, Qcow2Header header, ImageCompression? compression)
    {
        string? why = compression is null ? null
            : header.HasDataFile ? "its data lies in an external data file, which holds none"
            : compression != header.Compression
                ? $"all compressed clusters of an image are of one type, and its compression_type is {header.Compression}"
            : null;
        if (why is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The qcow2 image '{path}' can't be written with {compression} compression: {why}.",
                path,
                operation: "open");
        }
    }

    /// <summary>Writes the cluster at an offset, when that is what should be compressed.</summary>
    /// <param name="offsetBytes">Disk offset.</param>
    /// <param name="data">What is to be written from there on, perhaps more than the cluster.</param>
    /// <returns>Bytes that are done; 0 to write in the ordinary way.</returns>
    public int Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        int insideBytes = (int)Math.Min(header.ClusterBytes, header.SizeBytes - offsetBytes);
        if ((offsetBytes & (header.ClusterBytes - 1)) != 0 || data.Length < insideBytes)
        {
            return 0;
        }

        data = data[..insideBytes];
        if (!lookup.IsHostless(offsetBytes))
        {
            return 0;
        }

        bool isZero = !data.ContainsAnyExcept((byte)0);
        return (isZero && drops.TryZeroCluster(offsetBytes)) || TryWrite(offsetBytes, data) ? insideBytes : 0;
    }

    private bool TryWrite(long offsetBytes, ReadOnlySpan<byte> data)
    {
        PageBuffer target = PagePool.Shared.Rent(header.ClusterBytes);
        try
        {
            return TryCompress(data, target.Memory, out int lengthBytes)
                && places.TryReserve(lengthBytes, out CompressedExtent extent)
                && TryStore(offsetBytes, extent, target.GetSpan()[..lengthBytes]);
        }
        finally
        {
            PagePool.Shared.Return(target);
        }
    }

    // The last cluster of the disk may be partial; stored is always a whole one.
    private bool TryCompress(ReadOnlySpan<byte> data, Memory<byte> target, out int lengthBytes)
    {
        int mostBytes = header.ClusterBytes - (header.ClusterBytes / LeastGain);
        if (data.Length == header.ClusterBytes)
        {
            return codec.TryCompress(data, target, mostBytes, out lengthBytes);
        }

        PageBuffer whole = PagePool.Shared.Rent(header.ClusterBytes);
        try
        {
            Span<byte> cluster = whole.GetSpan()[..header.ClusterBytes];
            data.CopyTo(cluster);
            cluster[data.Length..].Clear();
            return codec.TryCompress(cluster, target, mostBytes, out lengthBytes);
        }
        finally
        {
            PagePool.Shared.Return(whole);
        }
    }

    private bool TryStore(long offsetBytes, CompressedExtent extent, ReadOnlySpan<byte> compressed)
    {
        bool isPublished = false;
        try
        {
            file.Write(extent.OffsetBytes, compressed);
            isPublished = places.TryPublish(offsetBytes, extent);
        }
        finally
        {
            if (!isPublished)
            {
                places.Abandon(extent);
            }
        }

        return isPublished;
    }
}
