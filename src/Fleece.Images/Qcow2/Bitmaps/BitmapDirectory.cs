// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using System.Text.Unicode;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Bitmaps;

/// <summary>One entry of the bitmap directory.</summary>
internal readonly record struct BitmapEntry(
    string Name, long GranularityBytes, long TableOffsetBytes, int TableEntries, bool IsInUse, bool IsEnabled);

/// <summary>The bitmaps extension of the header and the directory that it points to.</summary>
/// <remarks>
/// <para><see cref="HeaderExtensions.Bitmaps"/>, 24 bytes, big-endian (qcow2.txt, "Bitmaps extension"):</para>
/// <code>
/// 0  4  nb_bitmaps, 1 to 65535          8  8  bitmap_directory_size, bytes
/// 4  4  reserved, 0                    16  8  bitmap_directory_offset, a cluster's
/// </code>
/// <para>An entry (qcow2.txt, "Bitmap directory"):</para>
/// <code>
///  0  8  bitmap_table_offset           16  1  type, 1 = dirty tracking
///  8  4  bitmap_table_size, entries    17  1  granularity_bits
/// 12  4  flags: in_use, auto,          18  2  name_size
///        extra_data_compatible         20  4  extra_data_size
/// 24     extra data, then the name, then zeros up to a multiple of 8
/// </code>
/// </remarks>
internal static class BitmapDirectory
{
    private const int ExtensionBytes = 24;
    private const int EntryBytes = 24;
    private const int MaximumNameBytes = 1023;
    private const int MaximumBytes = 1024 * 1024;
    private const byte DirtyTracking = 1;
    private const uint InUseFlag = 1;
    private const uint AutoFlag = 2;

    /// <summary>The entries of an image's bitmaps; none when they don't count.</summary>
    public static IReadOnlyList<ImageBitmap> Describe(IContainerFile file, Qcow2Header header)
    {
        bool areValid = (header.AutoclearFeatures & Qcow2Header.BitmapsBit) != 0;
        if (!areValid || header.Extensions.Find(HeaderExtensions.Bitmaps) is not { } extension)
        {
            return [];
        }

        BlockRange directory = Locate(file.Path, extension, header, out int count);
        return
        [
            .. Read(file, directory, count)
                .Select(entry => new ImageBitmap(entry.Name, entry.GranularityBytes, entry.IsEnabled, entry.IsInUse)),
        ];
    }

    /// <summary>Where the directory is, as the extension says.</summary>
    public static BlockRange Locate(string path, byte[] extension, Qcow2Header header, out int count)
    {
        count = 0;
        if (extension.Length != ExtensionBytes)
        {
            throw FormatFault.Qcow2.Corrupt(path, $"the bitmaps extension has {extension.Length} bytes, it must have {ExtensionBytes}");
        }

        uint bitmaps = BinaryPrimitives.ReadUInt32BigEndian(extension);
        ulong lengthBytes = BinaryPrimitives.ReadUInt64BigEndian(extension.AsSpan(8));
        ulong offsetBytes = BinaryPrimitives.ReadUInt64BigEndian(extension.AsSpan(16));
        if (bitmaps is 0 or > ushort.MaxValue || lengthBytes is < EntryBytes or > MaximumBytes || offsetBytes > long.MaxValue ||
            !IsCluster(header, (long)offsetBytes, (long)lengthBytes))
        {
            throw FormatFault.Qcow2.Corrupt(
                path,
                $"the bitmaps extension says {bitmaps} bitmaps in a directory of {lengthBytes} bytes at offset {offsetBytes}, which lies " +
                $"in no cluster of the file of {header.FileLengthBytes} bytes, or is longer than {MaximumBytes} bytes");
        }

        count = (int)bitmaps;
        return new BlockRange((long)offsetBytes, (long)lengthBytes);
    }

    public static List<BitmapEntry> Read(IContainerFile file, BlockRange directory, int count)
    {
        byte[] bytes = new byte[directory.LengthBytes];
        file.Read(directory.OffsetBytes, bytes);
        List<BitmapEntry> entries = [];
        int at = 0;
        for (int i = 0; i < count; i++)
        {
            BitmapEntry entry = Decode(file.Path, bytes.AsSpan(at), directory.OffsetBytes + at, out int entryBytes);
            if (entries.Exists(other => other.Name == entry.Name))
            {
                throw Fault(file.Path, directory.OffsetBytes + at, $"the name '{entry.Name}' stands there twice");
            }

            entries.Add(entry);
            at += entryBytes;
        }

        return entries;
    }

    public static byte[] Encode(IReadOnlyList<BitmapEntry> entries)
    {
        byte[] bytes = new byte[entries.Sum(entry => EntryLength(Encoding.UTF8.GetByteCount(entry.Name)))];
        int at = 0;
        foreach (BitmapEntry entry in entries)
        {
            Span<byte> span = bytes.AsSpan(at);
            int nameBytes = Encoding.UTF8.GetBytes(entry.Name, span[EntryBytes..]);
            BinaryPrimitives.WriteInt64BigEndian(span, entry.TableOffsetBytes);
            BinaryPrimitives.WriteInt32BigEndian(span[8..], entry.TableEntries);
            BinaryPrimitives.WriteUInt32BigEndian(span[12..], (entry.IsInUse ? InUseFlag : 0) | (entry.IsEnabled ? AutoFlag : 0));
            span[16] = DirtyTracking;
            span[17] = (byte)BitOperations.Log2((ulong)entry.GranularityBytes);
            BinaryPrimitives.WriteUInt16BigEndian(span[18..], (ushort)nameBytes);
            at += EntryLength(nameBytes);
        }

        return bytes;
    }

    public static byte[] EncodeExtension(int count, BlockRange directory)
    {
        byte[] bytes = new byte[ExtensionBytes];
        BinaryPrimitives.WriteInt32BigEndian(bytes, count);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(8), directory.LengthBytes);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(16), directory.OffsetBytes);
        return bytes;
    }

    /// <summary>True when the range begins with a cluster behind the header and ends within the file's last one.</summary>
    public static bool IsCluster(Qcow2Header header, long offsetBytes, long lengthBytes)
    {
        long endBytes = (header.FileLengthBytes + header.ClusterBytes - 1) & -header.ClusterBytes;
        return offsetBytes > 0 && (offsetBytes & (header.ClusterBytes - 1)) == 0 && lengthBytes <= endBytes &&
            offsetBytes <= endBytes - lengthBytes;
    }

    private static BitmapEntry Decode(string path, ReadOnlySpan<byte> span, long offsetBytes, out int lengthBytes)
    {
        if (span.Length < EntryBytes)
        {
            throw Fault(path, offsetBytes, "the directory ends within the entry");
        }

        ulong tableBytes = BinaryPrimitives.ReadUInt64BigEndian(span);
        uint tableEntries = BinaryPrimitives.ReadUInt32BigEndian(span[8..]);
        uint flags = BinaryPrimitives.ReadUInt32BigEndian(span[12..]);
        int nameBytes = BinaryPrimitives.ReadUInt16BigEndian(span[18..]);
        lengthBytes = EntryLength(nameBytes);
        if (nameBytes is 0 or > MaximumNameBytes || lengthBytes > span.Length)
        {
            throw Fault(path, offsetBytes, $"name_size is {nameBytes}, it must be from 1 to {MaximumNameBytes} within the directory");
        }

        // Bytes that are no UTF-8 would be replaced by longer ones, and the entry is written back in place.
        ReadOnlySpan<byte> nameField = span.Slice(EntryBytes, nameBytes);
        if (nameField.Contains((byte)0) || !Utf8.IsValid(nameField))
        {
            throw Fault(path, offsetBytes, "its name has a zero byte or is no UTF-8");
        }

        string name = Encoding.UTF8.GetString(nameField);
        long granularityBytes = span[17] < 63 ? 1L << span[17] : 0;
        if (span[16] != DirtyTracking || (flags & ~(InUseFlag | AutoFlag)) != 0 || BinaryPrimitives.ReadUInt32BigEndian(span[20..]) != 0 ||
            granularityBytes is < DirtyBitmap.MinimumGranularityBytes or > DirtyBitmap.MaximumGranularityBytes)
        {
            throw FormatFault.Qcow2.Unsupported(
                path,
                $"its bitmap '{name}' has type {span[16]}, flags 0x{flags:x}, granularity_bits {span[17]} and extra data of " +
                $"{BinaryPrimitives.ReadUInt32BigEndian(span[20..])} bytes; known are type 1, flags 1 and 2, 9 to 31, and none");
        }

        return tableBytes <= long.MaxValue && tableEntries <= int.MaxValue
            ? new BitmapEntry(
                name, granularityBytes, (long)tableBytes, (int)tableEntries, (flags & InUseFlag) != 0, (flags & AutoFlag) != 0)
            : throw Fault(path, offsetBytes, $"the table of {tableEntries} entries at offset {tableBytes} can't be in a file");
    }

    private static int EntryLength(int nameBytes) => (EntryBytes + nameBytes + 7) & ~7;

    private static BlockException Fault(string path, long offsetBytes, string what) =>
        FormatFault.Qcow2.Corrupt(path, $"the bitmap directory's entry at offset {offsetBytes} is damaged: {what}", offsetBytes);
}
