// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>A page of a bitmap's area in the sidecar: bits, the page's number, and a checksum over both and the area's id.</summary>
/// <remarks>
/// docs/bitmaps.md has the layout. A page is written whole, at a multiple of its length: the kernel copies it into one page of its
/// cache, so a killed process leaves the old page or the new one.
/// </remarks>
internal static class SidecarPage
{
    /// <summary>Length of a page in the file.</summary>
    public const int LengthBytes = BitsBytes + 2 * sizeof(uint);

    /// <summary>Bytes of bits in a page.</summary>
    public const int BitsBytes = IBitmapJournal.PageBytes;

    private const int NumberField = BitsBytes;
    private const int ChecksumField = BitsBytes + sizeof(uint);

    /// <summary>Room for one page that no page boundary of the memory divides, so that the kernel never finds half of it.</summary>
    public static Memory<byte> Allocate()
    {
        byte[] room = GC.AllocateArray<byte>(2 * LengthBytes, pinned: true);
        long address = Marshal.UnsafeAddrOfPinnedArrayElement(room, 0);
        return room.AsMemory((int)(-address & (LengthBytes - 1)), LengthBytes);
    }

    /// <summary>Numbers a page and puts its checksum in.</summary>
    public static void Seal(Span<byte> page, ulong areaId, long number)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(page[NumberField..], (uint)number);
        BinaryPrimitives.WriteUInt32LittleEndian(page[ChecksumField..], Checksum(page, areaId));
    }

    /// <summary>True when the page is that one of that area, as it was written.</summary>
    public static bool IsSealed(ReadOnlySpan<byte> page, ulong areaId, long number) =>
        BinaryPrimitives.ReadUInt32LittleEndian(page[NumberField..]) == (uint)number &&
        BinaryPrimitives.ReadUInt32LittleEndian(page[ChecksumField..]) == Checksum(page, areaId);

    /// <summary>Goes on with a checksum over the checksums of sealed pages.</summary>
    public static uint AppendChecksum(uint crc, ReadOnlySpan<byte> page) => Crc32C.Append(crc, page.Slice(ChecksumField, sizeof(uint)));

    private static uint Checksum(ReadOnlySpan<byte> page, ulong areaId)
    {
        Span<byte> id = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(id, areaId);
        return ~Crc32C.Append(Crc32C.Append(uint.MaxValue, id), page[..ChecksumField]);
    }
}
