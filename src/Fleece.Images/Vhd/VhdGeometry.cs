// SPDX-License-Identifier: MIT
namespace Fleece.Images.Vhd;

/// <summary>Cylinders, heads and sectors per track ("Hard Disk Footer Format", Disk Geometry).</summary>
internal readonly record struct VhdGeometry(int Cylinders, int Heads, int SectorsPerTrack)
{
    /// <summary>Sectors of the largest geometry; a disk may be larger, and then only the footer's size says so.</summary>
    public const long MaxSectors = 65535L * 16 * 255;

    public long Sectors => (long)Cylinders * Heads * SectorsPerTrack;

    /// <summary>The largest geometry that fits into a disk (the specification's appendix, "CHS Calculation").</summary>
    public static VhdGeometry ForSectors(long sectors)
    {
        sectors = Math.Min(sectors, MaxSectors);
        if (sectors >= 65535L * 16 * 63)
        {
            return new VhdGeometry((int)(sectors / 255 / 16), 16, 255);
        }

        int cylindersTimesHeads = (int)(sectors / 17);
        int heads = Math.Max(4, (cylindersTimesHeads + 1023) / 1024);
        int perTrack = 17;
        if (cylindersTimesHeads >= heads * 1024 || heads > 16)
        {
            perTrack = 31;
            heads = 16;
            cylindersTimesHeads = (int)(sectors / perTrack);
        }

        if (cylindersTimesHeads >= heads * 1024)
        {
            perTrack = 63;
            heads = 16;
            cylindersTimesHeads = (int)(sectors / perTrack);
        }

        return new VhdGeometry(cylindersTimesHeads / heads, heads, perTrack);
    }
}
