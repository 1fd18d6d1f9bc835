// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>Refuses incompatible features by name.</summary>
/// <remarks>
/// The names of bits this driver has never heard of come from the image's feature name table (qcow2.txt, "Feature name
/// table"), a header extension: 4 bytes type, 4 bytes length, data, padded to 8. Its rows have 48 bytes: 1 byte kind
/// (0 = incompatible), 1 byte bit number, 46 bytes name.
/// </remarks>
internal static class Qcow2Features
{
    private const uint EndOfExtensions = 0;
    private const uint FeatureNames = 0x6803f857;
    private const int FeatureRowBytes = 48;
    private const int FeatureNameBytes = 46;

    public static void Check(IContainerFile file, Qcow2Header header)
    {
        ulong features = header.IncompatibleFeatures;
        if ((features & Qcow2Header.DataFileBit) != 0)
        {
            throw Qcow2Fault.Unsupported(
                file.Path, "its data lies in an external data file. Make it one file with 'qemu-img convert'");
        }

        if ((features & Qcow2Header.ExtendedL2Bit) != 0)
        {
            throw Qcow2Fault.Unsupported(
                file.Path,
                "it has extended L2 entries (subclusters). Convert it with 'qemu-img convert -o extended_l2=off'");
        }

        ulong unknown = features & ~Qcow2Header.KnownIncompatible;
        if (unknown != 0)
        {
            int bit = BitOperations.TrailingZeroCount(unknown);
            string name = FindName(file, header, bit) is { } found ? $" ('{found}')" : string.Empty;
            throw Qcow2Fault.Unsupported(
                file.Path, $"it needs the incompatible feature bit {bit}{name}, which Fleece does not know");
        }
    }

    private static string? FindName(IContainerFile file, Qcow2Header header, int bit)
    {
        Span<byte> row = stackalloc byte[FeatureRowBytes];
        Span<byte> head = row[..8];
        long atBytes = header.HeaderLengthBytes;
        for (int count = 0; count < Qcow2Limits.MaxHeaderExtensions && atBytes + 8 <= header.ClusterBytes; count++)
        {
            file.Read(atBytes, head);
            uint type = BinaryPrimitives.ReadUInt32BigEndian(head);
            long lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
            long dataBytes = atBytes + 8;
            if (type == EndOfExtensions || lengthBytes > header.ClusterBytes - dataBytes)
            {
                return null;
            }

            for (long at = 0; type == FeatureNames && at + FeatureRowBytes <= lengthBytes; at += FeatureRowBytes)
            {
                file.Read(dataBytes + at, row);
                if (row[0] == 0 && row[1] == bit)
                {
                    return PrintableName(row.Slice(2, FeatureNameBytes));
                }
            }

            atBytes = dataBytes + ((lengthBytes + 7) & ~7L);
        }

        return null;
    }

    // The name comes from a file and goes to a terminal: only printable ASCII gets through.
    private static string PrintableName(ReadOnlySpan<byte> bytes)
    {
        StringBuilder name = new();
        foreach (byte value in bytes)
        {
            if (value == 0)
            {
                break;
            }

            name.Append(value is >= 0x20 and < 0x7f and not (byte)'\'' ? (char)value : '?');
        }

        return name.ToString();
    }
}
