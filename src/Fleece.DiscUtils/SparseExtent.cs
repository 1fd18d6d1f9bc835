// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>The header of a VMDK's sparse extent, checked before DiscUtils sizes its tables and buffers by it.</summary>
/// <remarks>VMware's Virtual Disk Format 5.0, SparseExtentHeader: flags at 8, capacity 12, grainSize 20, descriptorOffset 28,
/// descriptorSize 36, numGTEsPerGT 44, rgdOffset 48, gdOffset 56, compressAlgorithm 77; little-endian, in sectors.</remarks>
internal sealed class SparseExtent
{
    private const uint RedundantTables = 1 << 1;
    private const uint ZeroedGrains = 1 << 2;
    private const uint CompressedGrains = 1 << 16;
    private const uint Markers = 1 << 17;
    private const ushort Deflate = 1;

    /// <summary>gdOffset of a stream: the header that counts stands before the sector that ends the file.</summary>
    private const ulong HeaderAtEnd = ulong.MaxValue;
    private const int HeaderFromEndBytes = 1024;

    private const int MinimumGrainSectors = 8;

    /// <summary>DiscUtils inflates a grain anew for each 8 KiB of it, and counts a table's bytes of disk in 31 bits.</summary>
    private const int MaximumGrainSectors = 2048;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    public SparseExtent(LocalFile file)
    {
        ImageHeader header = new(file, 0);
        CheckMagic(header);
        ulong fileSectors = (ulong)file.LengthBytes / ImageHeader.SectorBytes;
        ulong descriptor = header.UInt64(28), descriptorSectors = header.UInt64(36);
        header.Require(descriptorSectors <= fileSectors, "descriptorSize", descriptorSectors, 36);
        header.Require(descriptor <= fileSectors - descriptorSectors, "descriptorOffset", descriptor, 28);
        HasDescriptor = descriptor != 0 && !new ImageHeader(file, (long)descriptor * ImageHeader.SectorBytes).BeginsWith([0]);
        if (header.UInt64(56) == HeaderAtEnd)
        {
            header = new ImageHeader(file, Math.Max(0, file.LengthBytes - HeaderFromEndBytes));
            CheckMagic(header);
        }

        CheckFlags(header);
        ulong capacity = header.UInt64(12), grain = header.UInt64(20);
        header.Require(capacity is > 0 and <= ImageHeader.MaximumDiskBytes / ImageHeader.SectorBytes, "capacity", capacity, 12);
        header.Require(
            grain is >= MinimumGrainSectors and <= MaximumGrainSectors && BitOperations.IsPow2(grain), "grainSize", grain, 20);
        header.Require(header.UInt32(44) == UnitTable.EntriesAtOnce, "numGTEsPerGT", header.UInt32(44), 44);
        CapacitySectors = (long)capacity;
        ulong tables = (capacity + (grain * UnitTable.EntriesAtOnce) - 1) / (grain * UnitTable.EntriesAtOnce);
        ulong directorySectors = ((tables * UnitTable.EntryBytes) + ImageHeader.SectorBytes - 1) / ImageHeader.SectorBytes;
        CheckDirectory("gdOffset", 56);
        if ((header.UInt32(8) & RedundantTables) != 0)
        {
            CheckDirectory("rgdOffset", 48);
        }

        Tables = new GrainTables(
            file,
            (long)header.UInt64(56) * ImageHeader.SectorBytes,
            (long)grain * ImageHeader.SectorBytes,
            (header.UInt32(8) & CompressedGrains) != 0);

        void CheckDirectory(string field, int fieldOffsetBytes)
        {
            ulong sector = header.UInt64(fieldOffsetBytes);
            header.Require(
                sector > 0 && directorySectors <= fileSectors && sector <= fileSectors - directorySectors, field, sector, fieldOffsetBytes);
        }
    }

    /// <summary>Size of the extent, in sectors.</summary>
    public long CapacitySectors { get; }

    /// <summary>True when a descriptor stands in the file, so that it is a whole image; extents have empty room for one.</summary>
    public bool HasDescriptor { get; }

    /// <summary>Where its grains are.</summary>
    public GrainTables Tables { get; }

    /// <summary>True when a file begins like a sparse extent.</summary>
    public static bool IsAt(LocalFile file) => HasMagic(new ImageHeader(file, 0));

    private static bool HasMagic(ImageHeader header) => header.BeginsWith("KDMV"u8);

    private static void CheckMagic(ImageHeader header)
    {
        if (!HasMagic(header))
        {
            throw header.Fault(ImageErrors.Corrupt, "does not have the magic of a sparse extent", 0);
        }
    }

    private static void CheckFlags(ImageHeader header)
    {
        uint flags = header.UInt32(8);
        ushort compression = header.UInt16(77);
        bool isCompressed = (flags & CompressedGrains) != 0;
        if ((flags & ZeroedGrains) != 0)
        {
            // DiscUtils would take the entry that says zeros for a place in the file.
            throw header.Fault(BlockErrors.Unsupported, "can mark grains as zeros, and such an image is not read", 8);
        }

        if (compression > Deflate || isCompressed != (compression == Deflate) || isCompressed != ((flags & Markers) != 0))
        {
            throw header.Fault(
                BlockErrors.Unsupported, $"has flags 0x{flags:x} with compression {compression}, which is not read", 8);
        }
    }
}
