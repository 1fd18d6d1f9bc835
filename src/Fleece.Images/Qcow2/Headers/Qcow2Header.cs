// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>The validated header of an image: what everything else relies on.</summary>
/// <remarks>
/// <para>Layout, big-endian (qcow2.txt, "Header"):</para>
/// <code>
///  0  4  magic "QFI\xfb"              48  8  refcount_table_offset
///  4  4  version, 2 or 3              56  4  refcount_table_clusters
///  8  8  backing_file_offset          60  4  nb_snapshots
/// 16  4  backing_file_size            64  8  snapshots_offset
/// 20  4  cluster_bits                 72  8  incompatible_features   (version 3 from here)
/// 24  8  size in bytes                80  8  compatible_features
/// 32  4  crypt_method                 88  8  autoclear_features
/// 36  4  l1_size, entries             96  4  refcount_order
/// 40  8  l1_table_offset             100  4  header_length
///                                    104  1  compression_type
/// </code>
/// </remarks>
internal sealed record Qcow2Header
{
    public const uint Magic = 0x514649fb;
    public const int LengthV2Bytes = 72;
    public const int MinLengthV3Bytes = 104;
    public const int BackingOffsetField = 8;
    public const int RefcountTableOffsetField = 48;
    public const int IncompatibleField = 72;
    public const int AutoclearField = 88;
    public const int CompressionTypeField = 104;

    public const ulong DirtyBit = 1 << 0;
    public const ulong CorruptBit = 1 << 1;
    public const ulong DataFileBit = 1 << 2;
    public const ulong CompressionTypeBit = 1 << 3;
    public const ulong ExtendedL2Bit = 1 << 4;
    public const ulong KnownIncompatible = DirtyBit | CorruptBit | DataFileBit | CompressionTypeBit | ExtendedL2Bit;
    public const ulong LazyRefcountsBit = 1 << 0;
    public const ulong BitmapsBit = 1 << 0;
    public const ulong RawDataFileBit = 1 << 1;

    /// <summary>Autoclear features that stay true whatever is written.</summary>
    public const ulong MaintainedAutoclear = RawDataFileBit;

    public const int CompressionZstd = 1;

    /// <summary>log2 of the subclusters of a cluster ("Extended L2 Entries").</summary>
    public const int SubclusterCountBits = 5;

    public required int Version { get; init; }

    public required int ClusterBits { get; init; }

    public required long SizeBytes { get; init; }

    public required int L1Entries { get; init; }

    public required long L1OffsetBytes { get; init; }

    public required long RefcountTableOffsetBytes { get; init; }

    public required int RefcountTableClusters { get; init; }

    public required int SnapshotCount { get; init; }

    public required long SnapshotsOffsetBytes { get; init; }

    /// <summary>The parent's name as it is recorded; null without a parent.</summary>
    public string? BackingName { get; init; }

    public IReadOnlyList<HeaderExtension> Extensions { get; init; } = [];

    public required ulong IncompatibleFeatures { get; init; }

    public required ulong CompatibleFeatures { get; init; }

    public required ulong AutoclearFeatures { get; init; }

    /// <summary>0 for zlib, <see cref="CompressionZstd"/>, or what nobody knows.</summary>
    public required int CompressionType { get; init; }

    /// <summary>The type of an image that can be opened.</summary>
    public ImageCompression Compression => CompressionType == CompressionZstd ? ImageCompression.Zstd : ImageCompression.Zlib;

    public required int RefcountOrder { get; init; }

    public required int HeaderLengthBytes { get; init; }

    /// <summary>Length of the file when the header was read.</summary>
    public required long FileLengthBytes { get; init; }

    public int ClusterBytes => 1 << ClusterBits;

    /// <summary>Behind the cluster in which the file ends: a file may end inside its last cluster, whose rest reads as
    /// zeros.</summary>
    public long FileEndBytes => (FileLengthBytes + ClusterBytes - 1) & -ClusterBytes;

    /// <summary>log2 of the entries of an L2 table: 8 or 16 bytes each, one cluster in all.</summary>
    public int L2EntryBits => ClusterBits - (IsExtended ? 4 : 3);

    /// <summary>log2 of the bytes of an L2 table that are kept in memory together.</summary>
    public int L2SliceBits => Math.Min(ClusterBits, Qcow2Limits.L2SliceBits);

    /// <summary>log2 of the entries of such a slice.</summary>
    public int L2SliceEntryBits => L2EntryBits - ClusterBits + L2SliceBits;

    /// <summary>log2 of the unit that is allocated: a cluster, or a subcluster.</summary>
    public int SubclusterBits => ClusterBits - (IsExtended ? SubclusterCountBits : 0);

    /// <summary>True for L2 entries of 16 bytes.</summary>
    public bool IsExtended => (IncompatibleFeatures & ExtendedL2Bit) != 0;

    public bool HasDataFile => (IncompatibleFeatures & DataFileBit) != 0;

    /// <summary>True when the data file alone must read as the disk.</summary>
    public bool IsDataFileRaw => HasDataFile && (AutoclearFeatures & RawDataFileBit) != 0;

    public bool IsDirty => (IncompatibleFeatures & DirtyBit) != 0;

    public bool IsCorrupt => (IncompatibleFeatures & CorruptBit) != 0;

    /// <summary>Reads and validates the header; nothing is allocated by what the file claims.</summary>
    /// <exception cref="BlockException">
    /// WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; read errors.
    /// </exception>
    public static Qcow2Header Read(IContainerFile file)
    {
        long fileBytes = file.GetLength();
        Span<byte> bytes = stackalloc byte[MinLengthV3Bytes + sizeof(ulong)];
        file.Read(0, bytes);
        string path = file.Path;
        if (fileBytes < 4 || BinaryPrimitives.ReadUInt32BigEndian(bytes) != Magic)
        {
            throw new BlockException(
                ImageErrors.WrongFormat,
                $"'{path}' is not a qcow2 image: it does not start with the qcow2 magic. Name the right format with " +
                "-Format, or leave it out.",
                path);
        }

        uint version = Field32(bytes, 4);
        if (version is not (2 or 3))
        {
            throw FormatFault.Qcow2.Unsupported(
                path, $"its version is {version}, Fleece handles 2 and 3. Convert it with 'qemu-img convert'");
        }

        int leastBytes = version == 2 ? LengthV2Bytes : MinLengthV3Bytes;
        if (fileBytes < leastBytes)
        {
            throw FormatFault.Qcow2.Truncated(path, $"the file has {fileBytes} bytes, the header alone takes {leastBytes}");
        }

        Qcow2Header header = Parse(path, bytes, (int)version, fileBytes).WithNames(file, bytes);
        Qcow2Features.Check(path, header);
        header.CheckSize(path);
        header.CheckTables(path);
        return header;
    }

    private static Qcow2Header Parse(string path, ReadOnlySpan<byte> bytes, int version, long fileBytes)
    {
        CheckBounds(path, "cluster_bits", Field32(bytes, 20), Qcow2Limits.MinClusterBits, Qcow2Limits.MaxClusterBits);
        CheckBounds(path, "l1_size", Field32(bytes, 36), 0, Qcow2Limits.MaxL1Bytes / sizeof(ulong));
        CheckBounds(path, "nb_snapshots", Field32(bytes, 60), 0, Qcow2Limits.MaxSnapshots);
        CheckBounds(path, "size", Field64(bytes, 24), 0, long.MaxValue);
        CheckBounds(path, "l1_table_offset", Field64(bytes, 40), 0, long.MaxValue);
        CheckBounds(path, "refcount_table_offset", Field64(bytes, 48), 0, long.MaxValue);
        CheckBounds(path, "snapshots_offset", Field64(bytes, 64), 0, long.MaxValue);
        int clusterBits = (int)Field32(bytes, 20);
        CheckBounds(
            path,
            "refcount_table_clusters",
            Field32(bytes, 56),
            1,
            (ulong)Math.Max(1, Qcow2Limits.MaxRefcountTableBytes >> clusterBits));
        if (version == 3)
        {
            CheckBounds(path, "refcount_order", Field32(bytes, 96), 0, Qcow2Limits.MaxRefcountOrder);
            CheckBounds(path, "header_length", Field32(bytes, 100), MinLengthV3Bytes, 1UL << clusterBits);
        }

        if (Field64(bytes, 8) != 0)
        {
            CheckBounds(path, "backing_file_offset", Field64(bytes, 8), LengthV2Bytes, 1UL << clusterBits);
            ulong leftBytes = (1UL << clusterBits) - Field64(bytes, 8);
            CheckBounds(
                path, "backing_file_size", Field32(bytes, 16), 0, Math.Min(Qcow2Limits.MaxBackingNameBytes, leftBytes));
        }

        if (Field32(bytes, 32) != 0)
        {
            throw FormatFault.Qcow2.Unsupported(
                path, $"it is encrypted (crypt_method {Field32(bytes, 32)}). Decrypt it with 'qemu-img convert'");
        }

        return new Qcow2Header
        {
            Version = version,
            ClusterBits = clusterBits,
            SizeBytes = (long)Field64(bytes, 24),
            L1Entries = (int)Field32(bytes, 36),
            L1OffsetBytes = (long)Field64(bytes, 40),
            RefcountTableOffsetBytes = (long)Field64(bytes, 48),
            RefcountTableClusters = (int)Field32(bytes, 56),
            SnapshotCount = (int)Field32(bytes, 60),
            SnapshotsOffsetBytes = (long)Field64(bytes, 64),
            IncompatibleFeatures = version == 3 ? Field64(bytes, 72) : 0,
            CompatibleFeatures = version == 3 ? Field64(bytes, 80) : 0,
            CompressionType = version == 3 && Field32(bytes, 100) > CompressionTypeField ? bytes[CompressionTypeField] : 0,
            AutoclearFeatures = version == 3 ? Field64(bytes, 88) : 0,
            RefcountOrder = version == 3 ? (int)Field32(bytes, 96) : Qcow2Limits.DefaultRefcountOrder,
            HeaderLengthBytes = version == 3 ? (int)Field32(bytes, 100) : LengthV2Bytes,
            FileLengthBytes = fileBytes,
        };
    }

    private Qcow2Header WithNames(IContainerFile file, ReadOnlySpan<byte> bytes)
    {
        long nameOffsetBytes = (long)Field64(bytes, 8);
        string? name = null;
        // An image whose parent was taken away may keep the offset of an empty name.
        if (nameOffsetBytes != 0 && Field32(bytes, 16) != 0)
        {
            byte[] nameBytes = new byte[Field32(bytes, 16)];
            file.Read(nameOffsetBytes, nameBytes);
            name = Encoding.UTF8.GetString(nameBytes);
        }

        return this with
        {
            BackingName = name,
            Extensions = HeaderExtensions.Read(
                file, HeaderLengthBytes, nameOffsetBytes != 0 ? nameOffsetBytes : ClusterBytes),
        };
    }

    private static void CheckBounds(string path, string field, ulong value, ulong least, ulong most)
    {
        if (value < least || value > most)
        {
            throw FormatFault.Qcow2.Corrupt(path, $"the header's {field} is {value}, it must be from {least} to {most}");
        }
    }

    private void CheckSize(string path)
    {
        if (SizeBytes == 0)
        {
            throw new BlockException(
                ImageErrors.EmptyImage,
                $"'{path}' holds a disk of 0 bytes: the header's size is 0. Use an image with at least one sector.",
                path);
        }

        if (SizeBytes % 512 != 0)
        {
            throw new BlockException(
                ImageErrors.BadImageSize,
                $"'{path}' holds a disk of {SizeBytes} bytes, which is not a multiple of 512. Resize it with " +
                "'qemu-img resize'.",
                path);
        }

        long neededEntries = ((SizeBytes - 1) >> (ClusterBits + L2EntryBits)) + 1;
        if (neededEntries > L1Entries)
        {
            throw FormatFault.Qcow2.Corrupt(
                path, $"the header's l1_size is {L1Entries}, a disk of {SizeBytes} bytes needs {neededEntries}");
        }
    }

    private void CheckTables(string path)
    {
        BlockRange first = new(0, ClusterBytes);
        BlockRange l1 = CheckTable(path, "the header's l1_table_offset", (ulong)L1OffsetBytes, (long)L1Entries * sizeof(ulong));
        BlockRange refcounts = CheckTable(
            path, "the header's refcount_table_offset", (ulong)RefcountTableOffsetBytes, (long)RefcountTableClusters << ClusterBits);
        if (l1.Overlaps(first) || refcounts.Overlaps(first) || l1.Overlaps(refcounts))
        {
            throw FormatFault.Qcow2.Corrupt(
                path,
                $"the header's l1_table_offset {L1OffsetBytes} and refcount_table_offset {RefcountTableOffsetBytes} " +
                "make tables overlap each other or the header");
        }
    }

    /// <summary>The place of a table, validated.</summary>
    /// <param name="path">The image.</param>
    /// <param name="field">Where the place is written, for the message.</param>
    /// <param name="offsetBytes">As it is written, of any value.</param>
    /// <param name="lengthBytes">Length of the table.</param>
    /// <exception cref="BlockException">Corrupt, Truncated.</exception>
    public BlockRange CheckTable(string path, string field, ulong offsetBytes, long lengthBytes)
    {
        if ((offsetBytes & ((ulong)ClusterBytes - 1)) != 0 || offsetBytes > Qcow2Limits.MaxClusterOffsetBytes)
        {
            throw FormatFault.Qcow2.Corrupt(path, $"{field} is {offsetBytes}, not a cluster offset");
        }

        BlockRange range = new((long)offsetBytes, lengthBytes);
        return range.EndBytes <= FileEndBytes
            ? range
            : throw FormatFault.Qcow2.Truncated(
                path,
                $"{field} is {offsetBytes} for {lengthBytes} bytes, the file ends at {FileLengthBytes}");
    }

    private static uint Field32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    private static ulong Field64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64BigEndian(bytes[at..]);
}
