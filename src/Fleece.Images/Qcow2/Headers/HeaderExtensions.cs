// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>One header extension, known or not.</summary>
internal readonly record struct HeaderExtension(uint Type, byte[] Data);

/// <summary>The header extensions, in their order (qcow2.txt, "Header extensions").</summary>
/// <remarks>
/// Each is 4 bytes type, 4 bytes length, data, padded to 8; type 0 ends the list. They lie between the header and the
/// backing file's name, or the end of the first cluster.
/// </remarks>
internal static class HeaderExtensions
{
    public const uint End = 0;
    public const uint BackingFormat = 0xe2792aca;
    public const uint FeatureNames = 0x6803f857;
    public const uint Bitmaps = 0x23852875;
    public const uint DataFileName = 0x44415441;

    private const int HeadBytes = 8;
    private const int FeatureRowBytes = 48;
    private const int FeatureNameBytes = 46;

    /// <summary>Reads the list.</summary>
    /// <exception cref="Block.BlockException">Corrupt: an extension that is longer than its place.</exception>
    public static IReadOnlyList<HeaderExtension> Read(IContainerFile file, long startBytes, long endBytes)
    {
        List<HeaderExtension> list = [];
        Span<byte> head = stackalloc byte[HeadBytes];
        for (long atBytes = startBytes; atBytes + HeadBytes <= endBytes;)
        {
            file.Read(atBytes, head);
            uint type = BinaryPrimitives.ReadUInt32BigEndian(head);
            uint lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
            if (type == End)
            {
                break;
            }

            atBytes += HeadBytes;
            if (lengthBytes > endBytes - atBytes)
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path,
                    $"the header extension 0x{type:x8} has {lengthBytes} bytes, {endBytes - atBytes} are left for it",
                    atBytes - HeadBytes);
            }

            if (list.Count == Qcow2Limits.MaxHeaderExtensions)
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path, $"it has more than {Qcow2Limits.MaxHeaderExtensions} header extensions", atBytes);
            }

            byte[] data = new byte[lengthBytes];
            file.Read(atBytes, data);
            list.Add(new HeaderExtension(type, data));
            atBytes += (lengthBytes + 7L) & ~7L;
        }

        return list;
    }

    /// <summary>The data of the first extension of a type; null without one.</summary>
    public static byte[]? Find(this IReadOnlyList<HeaderExtension> list, uint type)
    {
        foreach (HeaderExtension extension in list)
        {
            if (extension.Type == type)
            {
                return extension.Data;
            }
        }

        return null;
    }

    /// <summary>A string extension; null without one.</summary>
    public static string? FindString(this IReadOnlyList<HeaderExtension> list, uint type) =>
        list.Find(type) is { } data ? Encoding.UTF8.GetString(data) : null;

    /// <summary>Bytes the list takes in a file, its end included.</summary>
    public static int SizeBytes(this IReadOnlyList<HeaderExtension> list) =>
        HeadBytes + list.Sum(extension => HeadBytes + ((extension.Data.Length + 7) & ~7));

    /// <summary>Writes the list and its end into zeroed memory.</summary>
    public static void CopyTo(this IReadOnlyList<HeaderExtension> list, Span<byte> target)
    {
        foreach (HeaderExtension extension in list)
        {
            BinaryPrimitives.WriteUInt32BigEndian(target, extension.Type);
            BinaryPrimitives.WriteInt32BigEndian(target[4..], extension.Data.Length);
            extension.Data.CopyTo(target[HeadBytes..]);
            target = target[(HeadBytes + ((extension.Data.Length + 7) & ~7))..];
        }
    }

    /// <summary>The name the image itself gives an incompatible feature bit; null when it gives none.</summary>
    /// <remarks>Rows of the feature name table: 1 byte kind (0 = incompatible), 1 byte bit number, 46 bytes name.</remarks>
    public static string? FeatureName(this IReadOnlyList<HeaderExtension> list, int bit)
    {
        ReadOnlySpan<byte> rows = list.Find(FeatureNames);
        for (; rows.Length >= FeatureRowBytes; rows = rows[FeatureRowBytes..])
        {
            if (rows[0] == 0 && rows[1] == bit)
            {
                return Printable(rows.Slice(2, FeatureNameBytes));
            }
        }

        return null;
    }

    // The name comes from a file and goes to a terminal: only printable ASCII gets through.
    private static string Printable(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)0);
        StringBuilder name = new();
        foreach (byte value in end < 0 ? bytes : bytes[..end])
        {
            name.Append(value is >= 0x20 and < 0x7f and not (byte)'\'' ? (char)value : '?');
        }

        return name.ToString();
    }
}
