// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>The snapshot table as a check reads it: where it lies, and where the L1 tables of the snapshots do.</summary>
/// <remarks>
/// <para>Layout of an entry (qcow2.txt, "Snapshots"), each padded to 8 bytes:</para>
/// <code>
///  0  8  L1 offset          12  2  length of the id       36  4  length of extra data
///  8  4  L1 entries         14  2  length of the name     40     extra data, id, name
/// </code>
/// </remarks>
internal static class SnapshotTables
{
    private const int EntryHeadBytes = 40;

    /// <summary>The regions that the table and the snapshots' L1 tables take; those that are damaged are reported and left out.</summary>
    public static List<NamedRegion> Read(IContainerFile file, CheckedHeader header, CheckLog log, out NamedRegion? table)
    {
        List<NamedRegion> l1Tables = [];
        table = null;
        if (header.SnapshotCount == 0)
        {
            return l1Tables;
        }

        long start = (long)header.SnapshotsOffsetBytes;
        if (header.SnapshotsOffsetBytes == 0 || !header.IsWithinFile(header.SnapshotsOffsetBytes, 1))
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path,
                $"the header's snapshots_offset is {header.SnapshotsOffsetBytes}, which is no place in the file of " +
                $"{header.FileLengthBytes} bytes");
        }

        Span<byte> head = stackalloc byte[EntryHeadBytes];
        long at = start;
        long end = start + 1;
        for (int i = 0; i < header.SnapshotCount; i++)
        {
            file.Read(at, head);
            long lengthBytes = EntryHeadBytes + (long)BinaryPrimitives.ReadUInt32BigEndian(head[36..])
                + BinaryPrimitives.ReadUInt16BigEndian(head[12..]) + BinaryPrimitives.ReadUInt16BigEndian(head[14..]);
            if (!header.IsWithinFile((ulong)start, (ulong)(at + lengthBytes - start)))
            {
                log.Add(
                    FindingCause.Mapping, $"Snapshot table entry {i} of {header.SnapshotCount} reaches beyond the end of the file", at);
                break;
            }

            ReadL1(header, log, l1Tables, i, at, head);
            end = at + lengthBytes;
            at += (lengthBytes + 7) & ~7L;
        }

        table = new NamedRegion("the snapshot table", start, end - start);
        return l1Tables;
    }

    private static void ReadL1(
        CheckedHeader header, CheckLog log, List<NamedRegion> l1Tables, int index, long at, ReadOnlySpan<byte> head)
    {
        ulong offset = BinaryPrimitives.ReadUInt64BigEndian(head);
        long lengthBytes = (long)BinaryPrimitives.ReadUInt32BigEndian(head[8..]) * sizeof(ulong);
        if (lengthBytes <= Qcow2Limits.MaxL1Bytes && offset != 0 && header.IsWithinFile(offset, (ulong)lengthBytes))
        {
            l1Tables.Add(new NamedRegion($"the L1 table of snapshot {index}", (long)offset, lengthBytes));
            return;
        }

        log.Add(
            FindingCause.Mapping,
            $"Snapshot table entry {index} names an L1 table at {offset} of {lengthBytes} bytes, which is no place in the file. " +
            "Delete the snapshot",
            at);
    }
}
