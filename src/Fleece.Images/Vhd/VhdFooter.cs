// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>The disk types of "Hard Disk Footer Format", Disk Type.</summary>
internal enum VhdDiskType
{
    Fixed = 2,
    Dynamic = 3,
    Differencing = 4,
}

/// <summary>The footer: what the disk is.</summary>
/// <remarks>
/// <para>Layout, big-endian ("Hard Disk Footer Format"):</para>
/// <code>
///  0  8  cookie "conectix"             40  8  original size
///  8  4  features                      48  8  current size in bytes
/// 12  4  file format version           56  4  geometry: 2 cylinders, 1 heads, 1 sectors per track
/// 16  8  data offset: of the header    60  4  disk type
/// 24  4  seconds since 2000-01-01      64  4  checksum
/// 28  4  creator application           68 16  unique id
/// 32  4  creator version               84  1  saved state
/// 36  4  creator host OS               85     reserved, zeros, up to 512
/// </code>
/// <para>Footers of Virtual PC before 2004 have 511 bytes; the byte they lack is a reserved one.</para>
/// </remarks>
internal sealed record VhdFooter
{
    public const int LengthBytes = 512;
    public const int OldLengthBytes = 511;
    public const int ChecksumField = 64;

    /// <summary>Set in every footer ("Features", Reserved).</summary>
    public const uint ReservedFeature = 2;

    /// <summary>"Features", Temporary: to be deleted on shutdown.</summary>
    public const uint TemporaryFeature = 1;

    /// <summary>"File Format Version" 1.0; the upper half is the major version.</summary>
    public const uint Version1 = 0x0001_0000;

    /// <summary>"Data Offset" of fixed disks and of the header: there is none.</summary>
    public const ulong NoDataOffset = ulong.MaxValue;

    /// <summary>From which "Time Stamp" counts.</summary>
    public static readonly DateTime Epoch = new(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    // Virtual PC and QEMU's own "qemu" show their guests the geometry. All other programs, known or not, show the current size.
    private static readonly string[] GeometryCreators = ["vpc ", "qemu"];

    public required VhdDiskType Type { get; init; }

    public required uint Features { get; init; }

    public required ulong DataOffset { get; init; }

    public required uint Timestamp { get; init; }

    /// <summary>Four characters, one for each byte.</summary>
    public required string Creator { get; init; }

    public required uint CreatorVersion { get; init; }

    /// <summary>Size of the disk, by the rule of <see cref="SizeOf"/>.</summary>
    public required long SizeBytes { get; init; }

    public required ulong CurrentSizeBytes { get; init; }

    public required VhdGeometry Geometry { get; init; }

    public required Guid UniqueId { get; init; }

    public required bool HasSavedState { get; init; }

    /// <summary>All 512 bytes, for writing the footer somewhere else without loss.</summary>
    public required byte[] Bytes { get; init; }

    private static ReadOnlySpan<byte> Cookie => "conectix"u8;

    public static bool HasCookie(ReadOnlySpan<byte> bytes) => bytes.StartsWith(Cookie);

    /// <summary>Reads a footer if it is whole; otherwise says what is wrong with it.</summary>
    public static VhdFooter? TryParse(ReadOnlySpan<byte> bytes, out string problem)
    {
        problem = string.Empty;
        if (!HasCookie(bytes))
        {
            problem = "has no cookie 'conectix'";
            return null;
        }

        uint stored = BinaryPrimitives.ReadUInt32BigEndian(bytes[ChecksumField..]);
        uint computed = VhdChecksum.Compute(bytes, ChecksumField);
        if (stored != computed)
        {
            problem = $"has the checksum 0x{stored:x8}, its bytes give 0x{computed:x8}";
            return null;
        }

        uint version = BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]);
        if (version >> 16 != Version1 >> 16)
        {
            problem = $"has the file format version 0x{version:x8}, Fleece handles 1.0 (0x00010000)";
            return null;
        }

        uint type = BinaryPrimitives.ReadUInt32BigEndian(bytes[60..]);
        if (type is not ((uint)VhdDiskType.Fixed or (uint)VhdDiskType.Dynamic or (uint)VhdDiskType.Differencing))
        {
            problem = $"has the disk type {type}; there are 2 (fixed), 3 (dynamic) and 4 (differencing)";
            return null;
        }

        return Parse(bytes, (VhdDiskType)type);
    }

    /// <summary>The size of the disk: what the geometry gives for the creators that show it to their guests, the current size for all
    /// others.</summary>
    /// <remarks>A geometry that is the largest there is, empty, or larger than the current size says nothing of the disk.</remarks>
    public static long SizeOf(string creator, ulong currentSizeBytes, VhdGeometry geometry)
    {
        ulong currentSectors = currentSizeBytes / VhdLimits.SectorBytes;
        ulong geometrySectors = (ulong)geometry.Sectors;
        bool isByGeometry = geometrySectors is > 0 and < VhdGeometry.MaxSectors
            && geometrySectors <= currentSectors
            && Array.IndexOf(GeometryCreators, creator) >= 0;
        ulong sectors = isByGeometry ? geometrySectors : currentSectors;
        return (long)Math.Min(sectors, long.MaxValue / VhdLimits.SectorBytes) * VhdLimits.SectorBytes;
    }

    /// <summary>The bytes of a new footer.</summary>
    /// <remarks>The creator is Windows': old programs too take the current size of those, so that a disk of any size has the same size
    /// everywhere.</remarks>
    public static VhdFooter Create(VhdDiskType type, long sizeBytes, Guid uniqueId, uint timestamp)
    {
        byte[] bytes = new byte[LengthBytes];
        Cookie.CopyTo(bytes);
        VhdGeometry geometry = VhdGeometry.ForSectors(sizeBytes / VhdLimits.SectorBytes);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8), ReservedFeature);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(12), Version1);
        ulong dataOffset = type == VhdDiskType.Fixed ? NoDataOffset : LengthBytes;
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(16), dataOffset);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(24), timestamp);
        "win "u8.CopyTo(bytes.AsSpan(28));
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(32), 0x000a_0000);
        "Wi2k"u8.CopyTo(bytes.AsSpan(36));
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(40), sizeBytes);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(48), sizeBytes);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(56), (ushort)geometry.Cylinders);
        bytes[58] = (byte)geometry.Heads;
        bytes[59] = (byte)geometry.SectorsPerTrack;
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(60), (uint)type);
        _ = uniqueId.TryWriteBytes(bytes.AsSpan(68), bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(ChecksumField), VhdChecksum.Compute(bytes, ChecksumField));
        return Parse(bytes, type);
    }

    /// <summary>This footer with the unique id and the time stamp of another one.</summary>
    public VhdFooter WithIdentityOf(VhdFooter other)
    {
        byte[] bytes = [.. Bytes];
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(24), other.Timestamp);
        _ = other.UniqueId.TryWriteBytes(bytes.AsSpan(68), bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(ChecksumField), VhdChecksum.Compute(bytes, ChecksumField));
        return Parse(bytes, Type);
    }

    /// <summary>A moment as the format counts it; what lies outside its range is its nearest end.</summary>
    public static uint ToTimestamp(DateTime momentUtc) =>
        (uint)Math.Clamp((momentUtc - Epoch).TotalSeconds, 0, uint.MaxValue);

    /// <summary>What the other footer says otherwise of the disk, or null.</summary>
    public string? FindContradiction(VhdFooter other)
    {
        if (Type != other.Type)
        {
            return $"the disk type {other.Type}, not {Type}";
        }

        if (SizeBytes != other.SizeBytes)
        {
            return $"a disk of {other.SizeBytes} bytes, not {SizeBytes}";
        }

        if (DataOffset != other.DataOffset)
        {
            return $"the data offset {other.DataOffset}, not {DataOffset}";
        }

        return UniqueId == other.UniqueId ? null : $"the unique id {other.UniqueId}, not {UniqueId}";
    }

    /// <summary>Refuses sizes that no disk of this format has.</summary>
    public void CheckSize(string path)
    {
        if (SizeBytes == 0)
        {
            throw new BlockException(
                ImageErrors.EmptyImage,
                $"'{path}' holds a disk of 0 bytes: the footer of creator '{PrintableCreator}' has the current size " +
                $"{CurrentSizeBytes} and the geometry {Geometry.Cylinders}/{Geometry.Heads}/{Geometry.SectorsPerTrack}. Use an " +
                "image with at least one sector.",
                path);
        }

        if (SizeBytes > VhdLimits.MaxSizeBytes)
        {
            throw FormatFault.Vhd.Unsupported(
                path,
                $"the footer's current size is {CurrentSizeBytes} bytes, and VHD ends at {VhdLimits.MaxSizeBytes} (2040 GiB)");
        }
    }

    /// <summary>The creator as it may go to a terminal.</summary>
    public string PrintableCreator
    {
        get
        {
            StringBuilder text = new();
            foreach (char value in Creator)
            {
                text.Append(value is >= ' ' and < '\x7f' and not '\'' ? value : '?');
            }

            return text.ToString();
        }
    }

    private static VhdFooter Parse(ReadOnlySpan<byte> bytes, VhdDiskType type)
    {
        string creator = Encoding.Latin1.GetString(bytes.Slice(28, 4));
        ulong currentSize = BinaryPrimitives.ReadUInt64BigEndian(bytes[48..]);
        VhdGeometry geometry = new(BinaryPrimitives.ReadUInt16BigEndian(bytes[56..]), bytes[58], bytes[59]);
        return new VhdFooter
        {
            Type = type,
            Features = BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
            DataOffset = BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
            Timestamp = BinaryPrimitives.ReadUInt32BigEndian(bytes[24..]),
            Creator = creator,
            CreatorVersion = BinaryPrimitives.ReadUInt32BigEndian(bytes[32..]),
            SizeBytes = SizeOf(creator, currentSize, geometry),
            CurrentSizeBytes = currentSize,
            Geometry = geometry,
            UniqueId = new Guid(bytes.Slice(68, 16), bigEndian: true),
            HasSavedState = bytes[84] != 0,
            Bytes = bytes.ToArray(),
        };
    }
}
