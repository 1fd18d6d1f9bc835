// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>The clusters that stored bitmaps take (qcow2.txt, "Bitmaps").</summary>
/// <remarks>
/// <code>
/// directory entry, padded to 8:   0  8  table offset     8  4  table entries     18  2  length of the name
///                                20  4  length of extra data    24  extra data, name
/// table entry:                   bits 9-55 offset; without one, bit 0 says what the cluster reads as; the rest 0
/// </code>
/// Bitmaps are worth less than the disk: when their tables are damaged, or lie on anything else, a repair gives them up, and a
/// damaged table entry becomes one that says that everything has changed.
/// </remarks>
internal static class BitmapTables
{
    private const int EntryHeadBytes = 24;
    private const ulong AllOnes = 1;

    /// <summary>Counts the clusters.</summary>
    /// <returns>False when the directory or a table is damaged, so that the bitmaps can't be used.</returns>
    public static bool CountInto(
        ReferenceCounts counts, IContainerFile file, CheckedHeader header, CheckLog log, bool isFixing)
    {
        if (header.Bitmaps is not { } place)
        {
            return true;
        }

        if (place.OffsetBytes == 0 || !header.IsWithinFile(place.OffsetBytes, place.LengthBytes))
        {
            log.Add(
                FindingCause.Mapping,
                $"The bitmap directory is said to be at {place.OffsetBytes} with {place.LengthBytes} bytes, which is no place in the " +
                $"file of {header.FileLengthBytes} bytes",
                header.HeaderLengthBytes);
            return false;
        }

        CountRegion(counts, header, (long)place.OffsetBytes, (long)place.LengthBytes);
        Span<byte> head = stackalloc byte[EntryHeadBytes];
        long at = (long)place.OffsetBytes;
        long endBytes = at + (long)place.LengthBytes;
        for (uint i = 0; i < place.Count; i++)
        {
            file.Read(at, head);
            long entryBytes = (EntryHeadBytes + (long)BinaryPrimitives.ReadUInt16BigEndian(head[18..])
                + BinaryPrimitives.ReadUInt32BigEndian(head[20..]) + 7) & ~7L;
            ulong table = BinaryPrimitives.ReadUInt64BigEndian(head);
            ulong tableBytes = (ulong)BinaryPrimitives.ReadUInt32BigEndian(head[8..]) * sizeof(ulong);
            if (entryBytes > endBytes - at || (tableBytes != 0 && (table == 0 || !header.IsWithinFile(table, tableBytes))))
            {
                log.Add(
                    FindingCause.Mapping,
                    $"Bitmap directory entry {i} of {place.Count} names a table at {table} of {tableBytes} bytes, or is longer than " +
                    "the directory",
                    at);
                return false;
            }

            // Where no table is, its offset means nothing.
            if (tableBytes != 0)
            {
                CountRegion(counts, header, (long)table, (long)tableBytes);
                CountTable(counts, file, header, log, isFixing, (long)table, (long)tableBytes);
            }

            at += entryBytes;
        }

        return true;
    }

    private static void CountTable(
        ReferenceCounts counts, IContainerFile file, CheckedHeader header, CheckLog log, bool isFixing, long tableAt, long tableBytes)
    {
        byte[] chunk = new byte[header.ClusterBytes];
        for (long done = 0; done < tableBytes; done += chunk.Length)
        {
            Span<byte> bytes = chunk.AsSpan(0, (int)Math.Min(chunk.Length, tableBytes - done));
            file.Read(tableAt + done, bytes);
            for (int i = 0; i < bytes.Length; i += sizeof(ulong))
            {
                ulong entry = BinaryPrimitives.ReadUInt64BigEndian(bytes[i..]);
                ulong offset = entry & L2Entry.OffsetMask;
                if (entry is 0 or AllOnes)
                {
                    continue;
                }

                if (offset == entry && header.IsWithinFile(offset, (ulong)header.ClusterBytes))
                {
                    counts.Add((long)(offset >> header.ClusterBits), 1);
                    continue;
                }

                log.Add(
                    FindingCause.Mapping,
                    $"Bitmap table entry {(done + i) / sizeof(ulong)} is 0x{entry:x16}, which is no cluster of the file",
                    tableAt + done + i);
                if (isFixing)
                {
                    BinaryPrimitives.WriteUInt64BigEndian(bytes[i..], AllOnes);
                    file.Write(tableAt + done + i, bytes.Slice(i, sizeof(ulong)));
                }
            }
        }
    }

    private static void CountRegion(ReferenceCounts counts, CheckedHeader header, long offsetBytes, long lengthBytes)
    {
        long end = (offsetBytes + lengthBytes + header.ClusterBytes - 1) >> header.ClusterBits;
        for (long cluster = offsetBytes >> header.ClusterBits; cluster < end; cluster++)
        {
            counts.Add(cluster, 1);
        }
    }
}
