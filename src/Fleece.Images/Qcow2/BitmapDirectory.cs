// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>What the bitmap directory says of the bitmaps in an image (qcow2.txt, "Bitmaps").</summary>
/// <remarks>
/// <code>
/// extension  0  4  nb_bitmaps          entry   0  8  bitmap table offset   16  1  type, 1
///            8  8  directory size              8  4  bitmap table size     17  1  granularity_bits
///           16  8  directory offset           12  4  flags                 18  2  name size
///                                             20  4  extra data size, then extra data, name, padding to 8
/// </code>
/// </remarks>
internal static class BitmapDirectory
{
    private const int ExtensionBytes = 24;
    private const int FixedBytes = 24;
    private const uint InUseFlag = 1;
    private const uint AutoFlag = 2;
    private const int MaxGranularityBits = 62;

    /// <summary>Lists the bitmaps; none is trusted whose image says that the extension is out of date.</summary>
    /// <exception cref="Block.BlockException">Corrupt, Truncated; read errors.</exception>
    public static IReadOnlyList<ImageBitmap> Read(IContainerFile file, Qcow2Header header)
    {
        if (header.Extensions.Find(HeaderExtensions.Bitmaps) is not { } extension)
        {
            return [];
        }

        if (extension.Length < ExtensionBytes)
        {
            throw Qcow2Fault.Corrupt(
                file.Path, $"its bitmaps extension has {extension.Length} bytes, it must have {ExtensionBytes}");
        }

        uint count = BinaryPrimitives.ReadUInt32BigEndian(extension);
        ulong sizeBytes = BinaryPrimitives.ReadUInt64BigEndian(extension.AsSpan(8));
        long offsetBytes = BinaryPrimitives.ReadInt64BigEndian(extension.AsSpan(16));
        if (count > Qcow2Limits.MaxBitmaps || sizeBytes > Qcow2Limits.MaxBitmapDirectoryBytes)
        {
            throw Qcow2Fault.Corrupt(
                file.Path,
                $"its bitmaps extension names {count} bitmaps in {sizeBytes} bytes, the limits are " +
                $"{Qcow2Limits.MaxBitmaps} and {Qcow2Limits.MaxBitmapDirectoryBytes}");
        }

        _ = header.CheckTable(file.Path, "the bitmap directory's offset", offsetBytes, (long)sizeBytes);
        byte[] directory = new byte[sizeBytes];
        file.Read(offsetBytes, directory);
        return Parse(file.Path, header, directory, (int)count);
    }

    private static List<ImageBitmap> Parse(string path, Qcow2Header header, ReadOnlySpan<byte> rest, int count)
    {
        bool isStale = (header.AutoclearFeatures & Qcow2Header.BitmapsBit) == 0;
        List<ImageBitmap> bitmaps = [];
        for (int i = 0; i < count; i++)
        {
            long entryBytes = FixedBytes;
            if (rest.Length >= FixedBytes)
            {
                entryBytes += BinaryPrimitives.ReadUInt32BigEndian(rest[20..]);
                entryBytes += BinaryPrimitives.ReadUInt16BigEndian(rest[18..]);
            }

            if (entryBytes > rest.Length)
            {
                throw Qcow2Fault.Corrupt(
                    path, $"entry {i} of its bitmap directory has {entryBytes} bytes, {rest.Length} are left of the directory");
            }

            int nameBytes = BinaryPrimitives.ReadUInt16BigEndian(rest[18..]);
            uint flags = BinaryPrimitives.ReadUInt32BigEndian(rest[12..]);
            if (rest[17] > MaxGranularityBits)
            {
                throw Qcow2Fault.Corrupt(
                    path, $"entry {i} of its bitmap directory has granularity_bits {rest[17]}, {MaxGranularityBits} is the limit");
            }

            bitmaps.Add(new ImageBitmap(
                Encoding.UTF8.GetString(rest.Slice((int)entryBytes - nameBytes, nameBytes)),
                1L << rest[17],
                (flags & AutoFlag) != 0,
                isStale || (flags & InUseFlag) != 0));
            rest = rest[(int)Math.Min(rest.Length, (entryBytes + 7) & ~7L)..];
        }

        return bitmaps;
    }
}
