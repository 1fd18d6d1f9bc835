// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>Places, identifiers and checksums of the format (MS-VHDX section 2). All numbers are little-endian.</summary>
/// <remarks>
/// <code>
///      0  file type identifier      192 KiB  region table
/// 64 KiB  header 1                  256 KiB  its copy
/// 128 KiB header 2                    1 MiB  log, metadata, BAT and blocks, in any order, at multiples of 1 MiB
/// </code>
/// </remarks>
internal static class VhdxFormat
{
    public const long MiB = 1024 * 1024;

    /// <summary>"vhdxfile" (section 2.2.1).</summary>
    public const ulong FileSignature = 0x656c_6966_7864_6876;

    /// <summary>Where the creator stands behind the file's signature, in UTF-16 (section 2.2.1).</summary>
    public const int CreatorField = 8;

    /// <summary>Length of a header, of a sector of the log, and of the pages metadata is logged in.</summary>
    public const int PageBytes = 4096;

    /// <summary>Length of the region table and of the metadata table (sections 2.2.3 and 2.6.1).</summary>
    public const int TableBytes = 64 * 1024;

    public const long RegionTableOffsetBytes = 192 * 1024;
    public const long RegionTableCopyOffsetBytes = 256 * 1024;

    /// <summary>Where the checksum stands in each structure that has one.</summary>
    public const int ChecksumField = 4;

    /// <summary>Sectors whose bits fill a sector bitmap block: what a chunk spans (section 2.4.1).</summary>
    public const long SectorsPerChunk = 1L << 23;

    /// <summary>Where the two headers are (section 2.2.2).</summary>
    public static readonly long[] HeaderOffsetsBytes = [64 * 1024, 128 * 1024];

    // Regions (section 2.2.3.2).
    public static readonly Guid BatRegion = new("2dc27766-f623-4200-9d64-115e9bfd4a08");
    public static readonly Guid MetadataRegion = new("8b7ca206-4790-4b9a-b8fe-575f050f886e");

    // Metadata items (section 2.6.2).
    public static readonly Guid FileParametersItem = new("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
    public static readonly Guid VirtualDiskSizeItem = new("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
    public static readonly Guid VirtualDiskIdItem = new("beca12ab-b2e6-4523-93ef-c309e000c746");
    public static readonly Guid LogicalSectorSizeItem = new("8141bf1d-a96f-4709-ba47-f233a8faab5f");
    public static readonly Guid PhysicalSectorSizeItem = new("cda348c7-445d-4471-9cc9-e9885251c556");
    public static readonly Guid ParentLocatorItem = new("a8d35f2d-b30b-454d-abf7-d3d84834ab0c");

    /// <summary>The type of parent locator that names a VHDX (section 2.6.2.6.1).</summary>
    public static readonly Guid VhdxParentLocator = new("b04aefb7-d19e-4a81-b789-25b8e9445913");

    /// <summary>CRC-32C of a structure, its own field taken as zeros.</summary>
    public static uint Checksum(ReadOnlySpan<byte> structure) => Crc32C.OfSealed(structure, ChecksumField);

    /// <summary>Puts the checksum of a structure into its field.</summary>
    public static void Seal(Span<byte> structure) =>
        BinaryPrimitives.WriteUInt32LittleEndian(structure[ChecksumField..], Checksum(structure));

    /// <summary>True when the structure's checksum is right.</summary>
    public static bool IsSealed(ReadOnlySpan<byte> structure) =>
        BinaryPrimitives.ReadUInt32LittleEndian(structure[ChecksumField..]) == Checksum(structure);

    public static long RoundUpToMiB(long bytes) => (bytes + MiB - 1) & -MiB;
}
