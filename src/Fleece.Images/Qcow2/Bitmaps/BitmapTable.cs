// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block.DirtyBitmaps;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Bitmaps;

/// <summary>The clusters of one bitmap's bits and the table that names them.</summary>
/// <remarks>
/// An entry (qcow2.txt, "Bitmap table"): bits 9 to 55 the offset of a cluster; without one, bit 0 says that the cluster's bits are all 1
/// or all 0; the rest is reserved. Bit i of the bitmap is bit i % 8 of byte i / 8 ("Bitmap data").
/// </remarks>
internal static class BitmapTable
{
    private const ulong AllOnes = 1;

    /// <summary>Entries that a bitmap of a disk needs.</summary>
    public static int CountEntries(Qcow2Header header, long granularityBytes)
    {
        long bytes = (DirtyBitmap.CountBits(header.SizeBytes, granularityBytes) + 7) / 8;
        return (int)((bytes + header.ClusterBytes - 1) >> header.ClusterBits);
    }

    /// <summary>Reads the bits, and adds the clusters they and the table take.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt, InvalidArgument (too many bits); read errors.</exception>
    public static DirtyBitmap Read(IContainerFile file, Qcow2Header header, BitmapEntry entry, List<long> clusters)
    {
        DirtyBitmap bits = new(header.SizeBytes, entry.GranularityBytes);
        int count = CountEntries(header, entry.GranularityBytes);
        long tableBytes = (long)count * sizeof(ulong);
        if (entry.TableEntries != count || !BitmapDirectory.IsCluster(header, entry.TableOffsetBytes, tableBytes))
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path,
                $"the bitmap '{entry.Name}' has a table of {entry.TableEntries} entries at offset {entry.TableOffsetBytes}; it needs " +
                $"{count} in clusters of the file");
        }

        ulong[] table = TableWords.Read(file, entry.TableOffsetBytes, count);
        byte[] data = new byte[header.ClusterBytes];
        for (int i = 0; i < count; i++)
        {
            ulong word = table[i];
            long hostBytes = (long)(word & L2Entry.OffsetMask);
            bool isOnes = word == AllOnes;
            if (!isOnes && (word != (ulong)hostBytes || (hostBytes != 0 && !BitmapDirectory.IsCluster(header, hostBytes, 1))))
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path,
                    $"entry {i} of the table of the bitmap '{entry.Name}' is 0x{word:x16}, which names no cluster of the file",
                    entry.TableOffsetBytes + i * sizeof(ulong));
            }

            if (hostBytes != 0)
            {
                file.Read(hostBytes, data);
                clusters.Add(hostBytes >> header.ClusterBits);
            }
            else if (isOnes)
            {
                Array.Fill(data, byte.MaxValue);
            }
            else
            {
                continue;
            }

            bits.Load((long)i << header.ClusterBits, data);
        }

        AddRun(clusters, header, entry.TableOffsetBytes, tableBytes);
        return bits;
    }

    /// <summary>Stores the bits in new clusters; all of them 0 when there are none.</summary>
    /// <returns>Where the table is.</returns>
    public static long Write(
        MetadataFile file, ExtensionClusters clusters, Qcow2Header header, long granularityBytes, DirtyBitmap? bits)
    {
        byte[] table = new byte[CountEntries(header, granularityBytes) * sizeof(ulong)];
        byte[] data = new byte[header.ClusterBytes];
        for (int i = 0; bits is not null && i < table.Length / sizeof(ulong); i++)
        {
            if (!bits.CopyTo((long)i << header.ClusterBits, data))
            {
                continue;
            }

            ulong word = AllOnes;
            if (data.AsSpan().ContainsAnyExcept(byte.MaxValue))
            {
                long hostBytes = clusters.Allocate(1);
                file.Write(hostBytes, data);
                word = (ulong)hostBytes;
            }

            BinaryPrimitives.WriteUInt64BigEndian(table.AsSpan(i * sizeof(ulong)), word);
        }

        long tableBytes = clusters.Allocate((int)((table.Length + header.ClusterBytes - 1) >> header.ClusterBits));
        file.Write(tableBytes, table);
        return tableBytes;
    }

    /// <summary>Adds the clusters of a range that begins with one.</summary>
    public static void AddRun(List<long> clusters, Qcow2Header header, long offsetBytes, long lengthBytes)
    {
        for (long atBytes = offsetBytes; atBytes < offsetBytes + lengthBytes; atBytes += header.ClusterBytes)
        {
            clusters.Add(atBytes >> header.ClusterBits);
        }
    }
}
