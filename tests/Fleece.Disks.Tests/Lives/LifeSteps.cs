// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Lives;

/// <summary>The meaning of a step of a life: "write:vm:7" is the same write of the disk "vm" in every process.</summary>
internal static class LifeSteps
{
    public const int SizeBytes = 4 * 1024 * 1024;

    private const int SectorBytes = 512;
    private const int MaximumWriteSectors = 300;

    /// <summary>The write that a seed stands for.</summary>
    public static (long OffsetBytes, byte[] Data) WriteOf(string seed)
    {
        Seeds seeds = new(ulong.Parse(seed, CultureInfo.InvariantCulture) * 7919);
        int sectors = 1 + seeds.Next(MaximumWriteSectors);
        long offsetBytes = seeds.Next((SizeBytes / SectorBytes) - sectors) * (long)SectorBytes;
        return (offsetBytes, seeds.Bytes(sectors * SectorBytes));
    }

    /// <summary>A range in whole clusters, which a step consumes of a snapshot.</summary>
    public static BlockRange RangeOf(string seed)
    {
        Seeds seeds = new(ulong.Parse(seed, CultureInfo.InvariantCulture) * 104729);
        return new BlockRange(seeds.Next((SizeBytes / 65536) - 4) * 65536L, (1 + seeds.Next(4)) * 65536L);
    }

    /// <summary>Makes the image of a disk.</summary>
    public static async Task CreateAsync(string path) => await Image.CreateAsync(
        path, new ImageCreateOptions { Format = Image.FormatForNewFile(path), SizeBytes = SizeBytes });
}
