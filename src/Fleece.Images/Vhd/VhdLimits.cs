// SPDX-License-Identifier: MIT
namespace Fleece.Images.Vhd;

/// <summary>Bounds on what a file may make this driver allocate or walk (rule R5), and its own budgets.</summary>
internal static class VhdLimits
{
    /// <summary>The format's unit: BAT entries count these ("Block Allocation Table").</summary>
    public const int SectorBytes = 512;

    /// <summary>Largest disk, 2040 GiB: what Windows and QEMU stop at, so that a full file's sectors fit 32 bits.</summary>
    public const long MaxSizeBytes = 0xff00_0000L * SectorBytes;

    /// <summary>Block size of new images ("Dynamic Disk Header Format", Block Size: the default).</summary>
    public const int DefaultBlockBytes = 2 * 1024 * 1024;

    /// <summary>The other block size that Windows makes and opens.</summary>
    public const int SmallBlockBytes = 512 * 1024;

    /// <summary>Largest block that is opened; its sector bitmap has 64 KiB.</summary>
    public const int MaxBlockBytes = 256 * 1024 * 1024;

    /// <summary>Most BAT entries, held in memory whole: 2040 GiB in blocks of 256 KiB.</summary>
    public const int MaxTableEntries = 8 * 1024 * 1024;

    /// <summary>Longest parent locator that is read: a path of 32 Ki UTF-16 characters.</summary>
    public const int MaxLocatorBytes = 64 * 1024;

    /// <summary>Data of new blocks begins at multiples of this where the file stays within the format's reach.</summary>
    public const int DataAlignmentBytes = 4096;

    /// <summary>Sector bitmaps kept in memory by default.</summary>
    public const int MetadataCacheBytes = 32 * 1024 * 1024;

    /// <summary>Bitmaps kept even when they are larger than the cache.</summary>
    public const int MinCachedBitmaps = 16;

    /// <summary>Changed bitmaps may fill one n-th of the cache; then they are written back.</summary>
    public const int DirtyShareOfCache = 4;

    /// <summary>New blocks whose BAT entry is not on disk; more start a write-back.</summary>
    public const int MaxNewBlocks = 65536;

    /// <summary>The file grows, as a hole, by at least this much, so that moving the footer costs a flush per so many
    /// bytes.</summary>
    public const long GrowthBytes = 32L * 1024 * 1024;

    /// <summary>Runs one status query looks at; the caller asks again from where the answer ended.</summary>
    public const int RunsPerStatusQuery = 1024;

    /// <summary>Bytes of the BAT that are read, written or compared at a time.</summary>
    public const int TableChunkBytes = 64 * 1024;
}
