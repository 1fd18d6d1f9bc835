// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>The feature bits (qcow2.txt, "Header"): their names, and the refusal of unknown incompatible ones.</summary>
internal static class Qcow2Features
{
    /// <summary>Refuses incompatible features this driver does not know, by name.</summary>
    public static void Check(string path, Qcow2Header header)
    {
        ulong unknown = header.IncompatibleFeatures & ~Qcow2Header.KnownIncompatible;
        if (unknown != 0)
        {
            int bit = BitOperations.TrailingZeroCount(unknown);
            string name = header.Extensions.FeatureName(bit) is { } found ? $" ('{found}')" : string.Empty;
            throw FormatFault.Qcow2.Unsupported(
                path, $"it needs the incompatible feature bit {bit}{name}, which Fleece does not know");
        }

        if (header.IsExtended && header.ClusterBits < Qcow2Limits.MinClusterBitsWithSubclusters)
        {
            throw FormatFault.Qcow2.Corrupt(
                path,
                $"the header's cluster_bits is {header.ClusterBits}, with extended L2 entries it must be at least " +
                $"{Qcow2Limits.MinClusterBitsWithSubclusters}");
        }

        bool hasType = (header.IncompatibleFeatures & Qcow2Header.CompressionTypeBit) != 0;
        if (hasType != (header.CompressionType != 0))
        {
            throw FormatFault.Qcow2.Corrupt(
                path,
                $"the header's compression_type is {header.CompressionType} and its incompatible feature bit 3 is " +
                $"{(hasType ? 1 : 0)}, which contradict each other");
        }

        if (header.CompressionType > Qcow2Header.CompressionZstd)
        {
            throw FormatFault.Qcow2.Unsupported(
                path, $"its compression_type is {header.CompressionType}, Fleece knows 0 (zlib) and 1 (zstd)");
        }
    }

    /// <summary>The features in use, by the specification's names.</summary>
    public static IReadOnlyList<string> Names(Qcow2Header header)
    {
        List<string> names = [];
        AddWhere(names, header.IncompatibleFeatures, Qcow2Header.DirtyBit, "dirty bit");
        AddWhere(names, header.IncompatibleFeatures, Qcow2Header.CorruptBit, "corrupt bit");
        AddWhere(names, header.IncompatibleFeatures, Qcow2Header.DataFileBit, "external data file");
        AddWhere(names, header.IncompatibleFeatures, Qcow2Header.CompressionTypeBit, "compression type");
        AddWhere(names, header.IncompatibleFeatures, Qcow2Header.ExtendedL2Bit, "extended L2 entries");
        AddWhere(names, header.CompatibleFeatures, Qcow2Header.LazyRefcountsBit, "lazy refcounts");
        AddWhere(names, header.AutoclearFeatures, Qcow2Header.BitmapsBit, "bitmaps");
        AddWhere(names, header.AutoclearFeatures, Qcow2Header.RawDataFileBit, "raw external data");
        return names;
    }

    private static void AddWhere(List<string> names, ulong features, ulong bit, string name)
    {
        if ((features & bit) != 0)
        {
            names.Add(name);
        }
    }
}
