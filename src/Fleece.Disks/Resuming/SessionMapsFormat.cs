// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks.Resuming;

/// <summary>The parts of a file of maps: runs of full pages, and the bits of those that are neither full nor empty.</summary>
/// <remarks>
/// <code>
/// head    0   8   magic "FLSESMAP"
///         8   4   version
///         12  4   CRC-32C of the head, with this field 0
///         16  16  the session's id
///         32  8   number of the maps
///         40  8   granules of the disk
///         48  4   consumers
///         52  4   1: something is denied from the start
///         56  8   0
/// entry   0   4   CRC-32C of the head's checksum, the entry's offset in the file (8 bytes), the rest of the entry, and the bits behind it
///         4   4   number of the map, from 0: Denied, Done, Stored, Refused, Confirmed of each consumer
///         8   4   kind
///         12  4   0
///         16  8   first page; a page has 32768 granules
///         24  8   count of pages
/// </code>
/// <para>Entries follow the head, in the order of the maps and of their pages. Behind one of bits lie 4096 bytes of bits, the first granule
/// in the lowest bit of the first byte. A page that no entry names is empty. Numbers are little-endian.</para>
/// </remarks>
internal static class SessionMapsFormat
{
    public const int HeadBytes = 64;
    public const int EntryBytes = 32;
    public const int PageBytes = GranuleMap.WordsPerPage * sizeof(ulong);

    private const ulong Magic = 0x5041_4D53_4553_4C46; // "FLSESMAP" in the file's byte order
    private const uint Version = 1;
    private const int ChecksumAt = 12;
    private const int DeniedAt = 52;

    /// <summary>The kinds of entries.</summary>
    internal enum EntryKind
    {
        /// <summary>No entry.</summary>
        None = 0,

        /// <summary>Pages all of whose granules are in the map.</summary>
        Full = 1,

        /// <summary>One page, whose bits follow.</summary>
        Bits = 2,

        /// <summary>The end of the file; its map is the count of maps.</summary>
        End = 3,
    }

    /// <summary>The maps in their order in the file; null for a Denied that is not there.</summary>
    public static GranuleMap?[] InOrder(PointInTimeMaps maps) =>
        [maps.Denied, maps.Done, maps.Stored, maps.Refused, .. maps.Confirmed];

    /// <summary>A head.</summary>
    public static byte[] EncodeHead(Guid id, long number, PointInTimeMaps maps)
    {
        byte[] head = new byte[HeadBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(head, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), Version);
        id.TryWriteBytes(head.AsSpan(16));
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(32), number);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(40), maps.GranuleCount);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(48), maps.Confirmed.Count);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(DeniedAt), maps.Denied is null ? 0 : 1);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(ChecksumAt), Crc32C.OfSealed(head, ChecksumAt));
        return head;
    }

    /// <summary>True when a head says that something is denied from the start.</summary>
    public static bool HasDenied(ReadOnlySpan<byte> head) => head[DeniedAt] == 1;

    /// <summary>An entry, sealed.</summary>
    public static void EncodeEntry(
        Span<byte> entry,
        ReadOnlySpan<byte> head,
        long offsetBytes,
        int map,
        EntryKind kind,
        long page,
        long count,
        ReadOnlySpan<byte> bits)
    {
        entry.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(entry[4..], map);
        BinaryPrimitives.WriteInt32LittleEndian(entry[8..], (int)kind);
        BinaryPrimitives.WriteInt64LittleEndian(entry[16..], page);
        BinaryPrimitives.WriteInt64LittleEndian(entry[24..], count);
        BinaryPrimitives.WriteUInt32LittleEndian(entry, Checksum(head, offsetBytes, entry, bits));
    }

    /// <summary>The kind of an entry that is not checked yet.</summary>
    public static EntryKind KindOf(ReadOnlySpan<byte> entry) => (EntryKind)BinaryPrimitives.ReadInt32LittleEndian(entry[8..]);

    /// <summary>Reads an entry.</summary>
    /// <returns>False for a damaged one.</returns>
    public static bool TryDecodeEntry(
        ReadOnlySpan<byte> entry,
        ReadOnlySpan<byte> head,
        long offsetBytes,
        ReadOnlySpan<byte> bits,
        out int map,
        out long page,
        out long count)
    {
        map = BinaryPrimitives.ReadInt32LittleEndian(entry[4..]);
        page = BinaryPrimitives.ReadInt64LittleEndian(entry[16..]);
        count = BinaryPrimitives.ReadInt64LittleEndian(entry[24..]);
        return BinaryPrimitives.ReadUInt32LittleEndian(entry) == Checksum(head, offsetBytes, entry, bits);
    }

    private static uint Checksum(ReadOnlySpan<byte> head, long offsetBytes, ReadOnlySpan<byte> entry, ReadOnlySpan<byte> bits)
    {
        Span<byte> place = stackalloc byte[sizeof(uint) + sizeof(long)];
        head.Slice(ChecksumAt, sizeof(uint)).CopyTo(place);
        BinaryPrimitives.WriteInt64LittleEndian(place[sizeof(uint)..], offsetBytes);
        uint checksum = Crc32C.Append(Crc32C.Append(uint.MaxValue, place), entry[sizeof(uint)..]);
        return ~Crc32C.Append(checksum, bits);
    }
}
