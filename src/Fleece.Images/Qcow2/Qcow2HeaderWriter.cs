// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Images.Qcow2;

/// <summary>The changes of the header that happen to an image in use.</summary>
internal static class Qcow2HeaderWriter
{
    /// <summary>
    /// Writes the autoclear bits (qcow2.txt, "Header", bytes 88-95): each says that some extension, such as the dirty
    /// bitmaps, agrees with the data, which a program that does not maintain the extension must take back before it
    /// writes.
    /// </summary>
    public static void WriteAutoclear(MetadataFile file, ulong bits)
    {
        Span<byte> field = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(field, bits);
        file.Write(Qcow2Header.AutoclearField, field);
        file.Flush();
    }

    /// <summary>Writes the whole refcount table to a new place and makes the header point there, durably.</summary>
    public static void WriteRefcountTable(
        MetadataFile file, RefcountStore refcounts, long offsetBytes, int clusters)
    {
        byte[] bytes = new byte[refcounts.Table.Length * sizeof(ulong)];
        for (int i = 0; i < refcounts.Table.Length; i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)), refcounts.Table[i]);
        }

        refcounts.WriteDirtyBlocks();
        file.Write(offsetBytes, bytes);
        file.Flush();

        // Offset and length are neighbours in the header, so that one small write changes both.
        Span<byte> place = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(place, offsetBytes);
        BinaryPrimitives.WriteInt32BigEndian(place[8..], clusters);
        file.Write(Qcow2Header.RefcountTableOffsetField, place);
        file.Flush();
        refcounts.MoveTable(offsetBytes);
    }
}
