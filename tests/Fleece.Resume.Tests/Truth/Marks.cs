// SPDX-License-Identifier: MIT
namespace Fleece.Resuming.Tests.Truth;

/// <summary>The bits that a bitmap must have, and those that it may have.</summary>
internal sealed class Marks(int sectorCount)
{
    /// <summary>Bytes for one bit.</summary>
    public const int UnitBytes = 64 * 1024;

    /// <summary>Sectors for one bit.</summary>
    public const int UnitSectors = UnitBytes / Sectors.SizeBytes;

    /// <summary>A bit that is missing here is a change that the next backup misses.</summary>
    public bool[] Must { get; } = new bool[(sectorCount + UnitSectors - 1) / UnitSectors];

    /// <summary>A bit that is set beyond these was never written.</summary>
    public bool[] May { get; } = new bool[(sectorCount + UnitSectors - 1) / UnitSectors];

    /// <summary>Sets the bits of some sectors.</summary>
    public static void Add(bool[] bits, int firstSector, int count) =>
        bits.AsSpan((firstSector / UnitSectors)..((firstSector + count - 1) / UnitSectors + 1)).Fill(true);

    /// <summary>Adds bits to others.</summary>
    public static void Add(bool[] bits, bool[] more)
    {
        for (int unit = 0; unit < bits.Length; unit++)
        {
            bits[unit] |= more[unit];
        }
    }

    /// <summary>Adds the bits of another bitmap.</summary>
    public void Add(Marks other)
    {
        Add(Must, other.Must);
        Add(May, other.May);
    }

    /// <summary>These bits as they are now.</summary>
    public Marks Copy()
    {
        Marks copy = new(sectorCount);
        copy.Add(this);
        return copy;
    }
}

/// <summary>A bitmap with a name.</summary>
internal sealed class BitmapTruth(string name, Marks marks)
{
    /// <summary>Its name.</summary>
    public string Name => name;

    /// <summary>Its record.</summary>
    public Marks Marks { get; set; } = marks;

    /// <summary>The instant that it counts from; null for none.</summary>
    public Guid? BaselineId { get; set; }

    /// <summary>The disk as the backups of the baseline hold it; null where that is not known.</summary>
    public ulong[]? Backup { get; set; }

    /// <summary>The session that has pinned it; null for none.</summary>
    public SessionTruth? PinnedBy { get; set; }

    /// <summary>True until the host has answered that it is made.</summary>
    public bool IsAsked { get; set; }

    /// <summary>Writes that began later are in it.</summary>
    public long RecordsFrom { get; set; }
}
