// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>An entry of the snapshot table (qcow2.txt, "Snapshots").</summary>
/// <remarks>
/// <code>
///  0  8  L1 table offset         24  8  guest's running time
///  8  4  L1 table entries        32  4  VM state size
/// 12  2  id length               36  4  extra data size
/// 14  2  name length             40  8  VM state size, 64 bits    (extra data)
/// 16  4  seconds since 1970      48  8  disk size                 (extra data)
/// 20  4  nanoseconds                    then id, name, padding to 8
/// </code>
/// </remarks>
internal sealed record Qcow2Snapshot(string Id, string Name, long L1OffsetBytes, int L1Entries, ImageSnapshot Info)
{
    private const int FixedBytes = 40;
    private const int KnownExtraBytes = 16;

    /// <summary>Reads the whole table, oldest snapshot first.</summary>
    /// <param name="file">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="lengthBytes">Length of the table.</param>
    /// <exception cref="BlockException">Corrupt, Truncated; read errors.</exception>
    public static IReadOnlyList<Qcow2Snapshot> ReadAll(IContainerFile file, Qcow2Header header, out long lengthBytes)
    {
        lengthBytes = 0;
        if (header.SnapshotCount == 0)
        {
            return [];
        }

        _ = header.CheckTable(
            file.Path, "the header's snapshots_offset", (ulong)header.SnapshotsOffsetBytes, (long)header.SnapshotCount * FixedBytes);
        List<Qcow2Snapshot> snapshots = new(header.SnapshotCount);
        for (int i = 0; i < header.SnapshotCount; i++)
        {
            snapshots.Add(Read(file, header, i, header.SnapshotsOffsetBytes + lengthBytes, out long entryBytes));
            lengthBytes += entryBytes;
            if (lengthBytes > Qcow2Limits.MaxSnapshotTableBytes)
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path, $"its snapshot table has more than {Qcow2Limits.MaxSnapshotTableBytes} bytes");
            }
        }

        _ = header.CheckTable(file.Path, "the header's snapshots_offset", (ulong)header.SnapshotsOffsetBytes, lengthBytes);
        return snapshots;
    }

    /// <summary>The snapshot of that id, or else of that name, as they are or as <see cref="ImageSnapshot"/> shows them.</summary>
    /// <exception cref="BlockException">NotFound; and as <see cref="ReadAll"/>.</exception>
    public static Qcow2Snapshot Find(IContainerFile file, Qcow2Header header, string idOrName)
    {
        IReadOnlyList<Qcow2Snapshot> snapshots = ReadAll(file, header, out _);
        return snapshots.FirstOrDefault(snapshot => snapshot.Id == idOrName)
            ?? snapshots.FirstOrDefault(snapshot => snapshot.Name == idOrName)
            ?? snapshots.FirstOrDefault(snapshot => snapshot.Info.Id == idOrName)
            ?? snapshots.FirstOrDefault(snapshot => snapshot.Info.Name == idOrName)
            ?? throw new BlockException(
                BlockErrors.NotFound,
                $"The qcow2 image '{file.Path}' has no internal snapshot '{idOrName}'. " + (snapshots.Count == 0
                    ? "It has none at all."
                    : $"It has: {string.Join(", ", snapshots.Take(20).Select(snapshot => $"'{snapshot.Name}'"))}."),
                file.Path);
    }

    /// <summary>The header as it would be if the snapshot were the active state.</summary>
    public Qcow2Header Apply(Qcow2Header header) => header with
    {
        SizeBytes = Info.SizeBytes,
        L1OffsetBytes = L1OffsetBytes,
        L1Entries = L1Entries,
    };

    private static Qcow2Snapshot Read(IContainerFile file, Qcow2Header header, int index, long atBytes, out long entryBytes)
    {
        Span<byte> bytes = stackalloc byte[FixedBytes + KnownExtraBytes];
        file.Read(atBytes, bytes);
        int idBytes = BinaryPrimitives.ReadUInt16BigEndian(bytes[12..]);
        int nameBytes = BinaryPrimitives.ReadUInt16BigEndian(bytes[14..]);
        uint extraBytes = BinaryPrimitives.ReadUInt32BigEndian(bytes[36..]);
        uint l1Entries = BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]);
        ulong l1OffsetBytes = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        ulong recordedSizeBytes = extraBytes >= KnownExtraBytes
            ? BinaryPrimitives.ReadUInt64BigEndian(bytes[48..])
            : (ulong)header.SizeBytes;
        string field = $"snapshot {index}'s";
        Check(file.Path, $"{field} extra data size", extraBytes, Qcow2Limits.MaxSnapshotExtraBytes);
        Check(file.Path, $"{field} L1 table size", l1Entries, Qcow2Limits.MaxL1Bytes / sizeof(ulong));
        Check(file.Path, $"{field} disk size", recordedSizeBytes, long.MaxValue);
        long sizeBytes = (long)recordedSizeBytes;
        _ = header.CheckTable(file.Path, $"{field} L1 table offset", l1OffsetBytes, (long)l1Entries * sizeof(ulong));
        long needed = sizeBytes == 0 ? 0 : ((sizeBytes - 1) >> (header.ClusterBits + header.L2EntryBits)) + 1;
        if (needed > l1Entries)
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path, $"{field} L1 table has {l1Entries} entries, its disk of {sizeBytes} bytes needs {needed}", atBytes);
        }

        byte[] text = new byte[idBytes + nameBytes];
        file.Read(atBytes + FixedBytes + extraBytes, text);
        entryBytes = (FixedBytes + extraBytes + text.Length + 7L) & ~7L;
        string id = Encoding.UTF8.GetString(text, 0, idBytes);
        string name = Encoding.UTF8.GetString(text, idBytes, nameBytes);
        ulong stateBytes = extraBytes >= sizeof(ulong)
            ? BinaryPrimitives.ReadUInt64BigEndian(bytes[40..])
            : BinaryPrimitives.ReadUInt32BigEndian(bytes[32..]);
        DateTimeOffset createdAt = DateTimeOffset.FromUnixTimeSeconds(BinaryPrimitives.ReadUInt32BigEndian(bytes[16..]))
            .AddTicks(BinaryPrimitives.ReadUInt32BigEndian(bytes[20..]) / TimeSpan.NanosecondsPerTick);
        return new Qcow2Snapshot(
            id,
            name,
            (long)l1OffsetBytes,
            (int)l1Entries,
            new ImageSnapshot(id, name, createdAt, sizeBytes, (long)Math.Min(stateBytes, long.MaxValue)));
    }

    private static void Check(string path, string field, ulong value, ulong most)
    {
        if (value > most)
        {
            throw FormatFault.Qcow2.Corrupt(path, $"{field} is {value}, it must be at most {most}");
        }
    }
}
