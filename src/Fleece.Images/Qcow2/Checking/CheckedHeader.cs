// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>A part of the file that some field names, in bytes.</summary>
internal readonly record struct NamedRegion(string Name, long OffsetBytes, long LengthBytes);

/// <summary>The header as a check needs it: only what makes an examination impossible is refused here, and the refcount table's
/// place is not, because that can be made anew.</summary>
/// <remarks>Layout: <see cref="Qcow2Header"/>. Extensions (qcow2.txt, "Header extensions"): 4 bytes type, 4 bytes length,
/// data, padded to 8.</remarks>
internal sealed record CheckedHeader
{
    public const int IncompatibleField = 72;
    public const ulong BitmapsBit = 1;

    private const ulong KnownIncompatible = Qcow2Header.DirtyBit | Qcow2Header.CorruptBit | Qcow2Header.DataFileBit
        | Qcow2Header.CompressionTypeBit | Qcow2Header.ExtendedL2Bit;

    private const int ExtensionHeadBytes = 8;
    private const int BitmapsExtensionBytes = 24;
    private const uint EncryptionExtension = 0x0537be77;
    private const int EncryptionExtensionBytes = 16;

    public required int Version { get; init; }

    public required int ClusterBits { get; init; }

    public required long SizeBytes { get; init; }

    public required NamedRegion L1 { get; init; }

    public required ulong RefcountTableOffsetBytes { get; init; }

    public required uint RefcountTableClusters { get; init; }

    public required int SnapshotCount { get; init; }

    public required ulong SnapshotsOffsetBytes { get; init; }

    public required ulong IncompatibleFeatures { get; init; }

    public required ulong AutoclearFeatures { get; init; }

    public required int RefcountOrder { get; init; }

    public required int HeaderLengthBytes { get; init; }

    public required long FileLengthBytes { get; init; }

    /// <summary>The bitmap directory, when the bitmaps are valid; its offset and length are not checked yet.</summary>
    public (ulong OffsetBytes, ulong LengthBytes, uint Count)? Bitmaps { get; private init; }

    /// <summary>The header of an encrypted disk; its offset and length are not checked yet.</summary>
    public (ulong OffsetBytes, ulong LengthBytes)? Encryption { get; private init; }

    public int ClusterBytes => 1 << ClusterBits;

    public int L1Entries => (int)(L1.LengthBytes / sizeof(ulong));

    public bool HasDataFile => (IncompatibleFeatures & Qcow2Header.DataFileBit) != 0;

    public bool HasSubclusters => (IncompatibleFeatures & Qcow2Header.ExtendedL2Bit) != 0;

    /// <summary>Clusters of the file, the last of which may be partial; what is missing of it reads as zeros.</summary>
    public long FileClusters => (FileLengthBytes + ClusterBytes - 1) >> ClusterBits;

    /// <exception cref="BlockException">WrongFormat, Unsupported, Corrupt, Truncated; read errors.</exception>
    public static CheckedHeader Read(IContainerFile file)
    {
        Span<byte> bytes = stackalloc byte[Qcow2Header.MinLengthV3Bytes];
        file.Read(0, bytes);
        if (BinaryPrimitives.ReadUInt32BigEndian(bytes) != Qcow2Header.Magic)
        {
            throw new BlockException(
                ImageErrors.WrongFormat, $"'{file.Path}' is not a qcow2 image: it does not start with its magic.", file.Path);
        }

        uint version = Field32(bytes, 4);
        if (version is not (2 or 3))
        {
            throw FormatFault.Qcow2.Unsupported(file.Path, $"its version is {version}, Fleece handles 2 and 3");
        }

        bool isV3 = version == 3;
        CheckBounds(file, "cluster_bits", Field32(bytes, 20), Qcow2Limits.MinClusterBits, Qcow2Limits.MaxClusterBits);
        int clusterBits = (int)Field32(bytes, 20);
        CheckBounds(file, "size", Field64(bytes, 24), 0, long.MaxValue);
        CheckBounds(file, "l1_size", Field32(bytes, 36), 0, Qcow2Limits.MaxL1Bytes / sizeof(ulong));
        CheckBounds(file, "nb_snapshots", Field32(bytes, 60), 0, Qcow2Limits.MaxSnapshots);
        if (isV3)
        {
            CheckBounds(file, "refcount_order", Field32(bytes, 96), 0, Qcow2Limits.MaxRefcountOrder);
            CheckBounds(file, "header_length", Field32(bytes, 100), Qcow2Header.MinLengthV3Bytes, 1UL << clusterBits);
        }

        CheckedHeader header = new()
        {
            Version = (int)version,
            ClusterBits = clusterBits,
            SizeBytes = (long)Field64(bytes, 24),
            L1 = new NamedRegion("the L1 table", (long)Field64(bytes, 40), (long)Field32(bytes, 36) * sizeof(ulong)),
            RefcountTableOffsetBytes = Field64(bytes, 48),
            RefcountTableClusters = Field32(bytes, 56),
            SnapshotCount = (int)Field32(bytes, 60),
            SnapshotsOffsetBytes = Field64(bytes, 64),
            IncompatibleFeatures = isV3 ? Field64(bytes, IncompatibleField) : 0,
            AutoclearFeatures = isV3 ? Field64(bytes, Qcow2Header.AutoclearField) : 0,
            RefcountOrder = isV3 ? (int)Field32(bytes, 96) : Qcow2Limits.DefaultRefcountOrder,
            HeaderLengthBytes = isV3 ? (int)Field32(bytes, 100) : Qcow2Header.LengthV2Bytes,
            FileLengthBytes = file.GetLength(),
        };
        header.CheckWhole(file);

        // The backing file's name, where there is one, ends the extensions.
        ulong nameOffset = Field64(bytes, 8);
        bool hasName = nameOffset != 0 && nameOffset < (ulong)header.ClusterBytes;
        return header.WithExtensions(file, hasName ? (long)nameOffset : header.ClusterBytes);
    }

    /// <summary>True when the offset is a multiple of the cluster size and the region lies within the file.</summary>
    public bool IsWithinFile(ulong offsetBytes, ulong lengthBytes) =>
        (offsetBytes & ((ulong)ClusterBytes - 1)) == 0
        && offsetBytes >> ClusterBits < (ulong)FileClusters
        && lengthBytes <= ((ulong)FileClusters << ClusterBits) - offsetBytes;

    private static void CheckBounds(IContainerFile file, string field, ulong value, ulong least, ulong most)
    {
        if (value < least || value > most)
        {
            throw FormatFault.Qcow2.Corrupt(file.Path, $"the header's {field} is {value}, it must be from {least} to {most}");
        }
    }

    private void CheckWhole(IContainerFile file)
    {
        ulong unknown = IncompatibleFeatures & ~KnownIncompatible;
        if (unknown != 0)
        {
            throw FormatFault.Qcow2.Unsupported(
                file.Path, $"it needs the incompatible feature bit {ulong.TrailingZeroCount(unknown)}, which Fleece does not know");
        }

        if (HasSubclusters && ClusterBits < Qcow2Limits.MinClusterBitsWithSubclusters)
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path,
                $"the header's cluster_bits is {ClusterBits}, extended L2 entries need {Qcow2Limits.MinClusterBitsWithSubclusters}");
        }

        int tableBits = ClusterBits + ClusterBits - (HasSubclusters ? 4 : 3);
        long neededEntries = SizeBytes == 0 ? 0 : ((SizeBytes - 1) >> tableBits) + 1;
        if (neededEntries > L1Entries)
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path, $"the header's l1_size is {L1Entries}, a disk of {SizeBytes} bytes needs {neededEntries}");
        }

        if (L1Entries != 0 && (L1.OffsetBytes <= 0 || !IsWithinFile((ulong)L1.OffsetBytes, (ulong)L1.LengthBytes)))
        {
            throw FormatFault.Qcow2.Corrupt(
                file.Path,
                $"the header's l1_table_offset is {L1.OffsetBytes} for {L1.LengthBytes} bytes, which is no place in the file of " +
                $"{FileLengthBytes} bytes");
        }
    }

    private CheckedHeader WithExtensions(IContainerFile file, long endBytes)
    {
        CheckedHeader header = this;
        Span<byte> head = stackalloc byte[ExtensionHeadBytes];
        Span<byte> data = stackalloc byte[BitmapsExtensionBytes];
        long atBytes = HeaderLengthBytes;
        for (int count = 0; count < Qcow2Limits.MaxHeaderExtensions && atBytes + ExtensionHeadBytes <= endBytes; count++)
        {
            file.Read(atBytes, head);
            uint type = Field32(head, 0);
            long lengthBytes = Field32(head, 4);
            if (type == 0 || lengthBytes > endBytes - atBytes - ExtensionHeadBytes)
            {
                break;
            }

            file.Read(atBytes + ExtensionHeadBytes, data);
            if (type == HeaderExtensions.Bitmaps && lengthBytes >= BitmapsExtensionBytes && (AutoclearFeatures & BitmapsBit) != 0)
            {
                header = header with { Bitmaps = (Field64(data, 16), Field64(data, 8), Field32(data, 0)) };
            }
            else if (type == EncryptionExtension && lengthBytes >= EncryptionExtensionBytes)
            {
                header = header with { Encryption = (Field64(data, 0), Field64(data, 8)) };
            }

            atBytes += ExtensionHeadBytes + ((lengthBytes + 7) & ~7L);
        }

        return header;
    }

    private static uint Field32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    private static ulong Field64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64BigEndian(bytes[at..]);
}
