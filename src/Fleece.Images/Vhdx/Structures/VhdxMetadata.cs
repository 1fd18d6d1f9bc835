// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The metadata items: what disk the image holds (MS-VHDX section 2.6).</summary>
/// <remarks>
/// <code>
///  0  8  signature "metadata"   from 32, 32 bytes each:   0 16  item_id
///  8  2  reserved                                        16  4  offset in the region, 64 KiB or more
/// 10  2  entry_count                                     20  4  length
/// 12 20  reserved                                        24  4  bit 0 user, bit 1 virtual disk, bit 2 required
/// </code>
/// </remarks>
internal sealed record VhdxMetadata
{
    public const ulong Signature = 0x6174_6164_6174_656d;
    public const int HeaderBytes = 32;
    public const int EntryBytes = 32;
    public const uint RequiredFlag = 4;

    /// <summary>File parameters, bit 0: blocks are never freed, the image is fixed (section 2.6.2.1).</summary>
    public const uint LeaveBlocksAllocatedFlag = 1;

    /// <summary>File parameters, bit 1: there is a parent (section 2.6.2.1).</summary>
    public const uint HasParentFlag = 2;

    public required int BlockBytes { get; init; }

    public required bool IsFixed { get; init; }

    public required bool HasParent { get; init; }

    public required long SizeBytes { get; init; }

    public required int SectorBytes { get; init; }

    public required Guid? DiskId { get; init; }

    /// <summary>Where the parent is; null without one.</summary>
    public required ParentLocator? Locator { get; init; }

    /// <summary>Payload blocks that one sector bitmap block describes (section 2.4.1).</summary>
    public long ChunkRatio => VhdxFormat.SectorsPerChunk * SectorBytes / BlockBytes;

    public long BlockCount => (SizeBytes + BlockBytes - 1) / BlockBytes;

    public ImageType Type => HasParent ? ImageType.Differencing : IsFixed ? ImageType.Fixed : ImageType.Dynamic;

    /// <summary>Entries of the BAT: an image without a parent may leave the last bitmap entry out (section 2.5).</summary>
    public long BatEntryCount => HasParent
        ? (BlockCount + ChunkRatio - 1) / ChunkRatio * (ChunkRatio + 1)
        : BlockCount + ((BlockCount - 1) / ChunkRatio);

    /// <summary>Pages of the BAT and, with a parent, of the sector bitmap blocks of 1 MiB.</summary>
    public long TablePageCount
    {
        get
        {
            long bitmaps = HasParent ? BatEntryCount / (ChunkRatio + 1) : 0;
            return (BatEntryCount * sizeof(ulong) / VhdxFormat.PageBytes) + 1 + (bitmaps * VhdxFormat.MiB / VhdxFormat.PageBytes);
        }
    }

    /// <summary>The bytes of a block that the disk has, fewer than a block at its end.</summary>
    public long DiskBytesOf(long block) => Math.Min(BlockBytes, SizeBytes - (block * BlockBytes));

    /// <exception cref="BlockException">Corrupt, Unsupported, EmptyImage, BadImageSize.</exception>
    public static VhdxMetadata Read(IContainerFile file, RegionTable regions)
    {
        string path = file.Path;
        MetadataItems items = MetadataItems.Read(file, regions.Metadata);
        ReadOnlySpan<byte> parameters = items.Require(VhdxFormat.FileParametersItem, "file parameters", 8);
        uint blockBytes = BinaryPrimitives.ReadUInt32LittleEndian(parameters);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(parameters[4..]);
        if (!BitOperations.IsPow2(blockBytes) || blockBytes is < VhdxLimits.MinBlockBytes or > VhdxLimits.MaxBlockBytes)
        {
            throw VhdxFault.Corrupt(
                path, $"its block_size is {blockBytes}, it must be a power of two from {VhdxLimits.MinBlockBytes} to " +
                $"{VhdxLimits.MaxBlockBytes}");
        }

        int sectorBytes = ReadSectorSize(path, items, VhdxFormat.LogicalSectorSizeItem, "logical_sector_size");
        _ = ReadSectorSize(path, items, VhdxFormat.PhysicalSectorSizeItem, "physical_sector_size");
        long sizeBytes = BinaryPrimitives.ReadInt64LittleEndian(
            items.Require(VhdxFormat.VirtualDiskSizeItem, "virtual disk size", 8));
        CheckSize(path, sizeBytes, sectorBytes);
        bool hasParent = (flags & HasParentFlag) != 0;
        VhdxMetadata metadata = new()
        {
            BlockBytes = (int)blockBytes,
            IsFixed = (flags & LeaveBlocksAllocatedFlag) != 0,
            HasParent = hasParent,
            SizeBytes = sizeBytes,
            SectorBytes = sectorBytes,
            DiskId = items.Find(VhdxFormat.VirtualDiskIdItem) is { Length: >= 16 } id ? new Guid(id.AsSpan(0, 16)) : null,
            Locator = hasParent ? ParentLocator.Parse(path, items.Require(VhdxFormat.ParentLocatorItem, "parent locator", 20)) : null,
        };
        return metadata.BatEntryCount * sizeof(ulong) <= regions.Bat.LengthBytes ? metadata : throw VhdxFault.Corrupt(
            path,
            $"the BAT region has {regions.Bat.LengthBytes} bytes, a disk of {sizeBytes} bytes in blocks of {blockBytes} needs " +
            $"{metadata.BatEntryCount} entries of 8 bytes");
    }

    private static int ReadSectorSize(string path, MetadataItems items, Guid item, string name)
    {
        uint bytes = BinaryPrimitives.ReadUInt32LittleEndian(items.Require(item, name, 4));
        return bytes is 512 or 4096
            ? (int)bytes
            : throw VhdxFault.Corrupt(path, $"its {name} is {bytes}, it must be 512 or 4096");
    }

    private static void CheckSize(string path, long sizeBytes, int sectorBytes)
    {
        if (sizeBytes == 0)
        {
            throw new BlockException(
                ImageErrors.EmptyImage,
                $"'{path}' holds a disk of 0 bytes: its virtual_disk_size is 0. Use an image with at least one sector.",
                path);
        }

        if (sizeBytes is < 0 or > VhdxLimits.MaxDiskBytes)
        {
            throw VhdxFault.Corrupt(
                path, $"its virtual_disk_size is {(ulong)sizeBytes}, {VhdxLimits.MaxDiskBytes} is the most the format allows");
        }

        if (sizeBytes % sectorBytes != 0)
        {
            throw new BlockException(
                ImageErrors.BadImageSize,
                $"'{path}' holds a disk of {sizeBytes} bytes, which is not a multiple of its logical_sector_size {sectorBytes}.",
                path);
        }
    }
}
