// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>Which part of a sidecar belongs to which bitmap.</summary>
/// <remarks>Threading. Under the disk's chain lock, or while the disk is being mounted.</remarks>
internal sealed class SidecarAreas(Sidecar sidecar)
{
    private readonly List<BlockRange> _taken = [];

    /// <summary>Reserves room for the bits of a bitmap, none of which is set.</summary>
    public SidecarArea Take(long bitCount)
    {
        long lengthBytes = SidecarArea.LengthFor(bitCount);
        long atBytes = Sidecar.DataStartBytes;
        _taken.Sort(static (left, right) => left.OffsetBytes.CompareTo(right.OffsetBytes));
        foreach (BlockRange area in _taken)
        {
            if (area.OffsetBytes - atBytes >= lengthBytes)
            {
                break;
            }

            atBytes = area.EndBytes;
        }

        if (sidecar.LengthBytes < atBytes + lengthBytes)
        {
            sidecar.SetLength(atBytes + lengthBytes);
        }

        // Pages of an earlier area may still be there. They have another id.
        ulong id = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
        SidecarArea taken = new(sidecar, atBytes, id, bitCount);
        _taken.Add(taken.Range);
        taken.Begin();
        return taken;
    }

    /// <summary>Reserves room for the bits of a bitmap and puts them there.</summary>
    /// <returns>The bits, which the area keeps up with from now on.</returns>
    public (DirtyBitmap Bits, SidecarArea Area) TakeCopy(DirtyBitmap source)
    {
        SidecarArea area = Take(source.BitCount);
        DirtyBitmap bits = new(source.DiskLengthBytes, source.GranularityBytes, area);
        for (long firstByte = 0; firstByte < source.LengthInBytes; firstByte += IBitmapJournal.PageBytes)
        {
            if (source.CopyTo(firstByte, area.Page))
            {
                bits.Load(firstByte, area.Page);
                area.Store(firstByte / IBitmapJournal.PageBytes);
            }
        }

        return (bits, area);
    }

    /// <summary>The bits of a bitmap that the directory names.</summary>
    /// <param name="entry">The bitmap.</param>
    /// <param name="diskLengthBytes">Size of the disk.</param>
    /// <param name="fault">Why none can be trusted; null when each has to be looked at.</param>
    /// <returns>The bits, or none and why they can't be trusted.</returns>
    public (DirtyBitmap Bits, string? Reason) Load(SidecarEntry entry, long diskLengthBytes, string? fault)
    {
        string? reason = entry.Fault.Length != 0 ? entry.Fault : fault;
        long granularityBytes = entry.GranularityBytes;
        while (diskLengthBytes / granularityBytes >= DirtyBitmap.MaximumBitCount)
        {
            reason ??= $"Its granularity of {entry.GranularityBytes} bytes is too fine for a disk of {diskLengthBytes} bytes.";
            granularityBytes *= 2;
        }

        DirtyBitmap bits = new(diskLengthBytes, granularityBytes);
        reason ??= FindArea(entry, bits.BitCount) is { } area
            ? area.Load(bits, sidecar.Directory.IsInUse && entry.Digest == 0 ? null : entry.Digest)
            : $"Its bits do not lie in '{sidecar.Path}' where the directory says.";
        return reason is null ? (bits, null) : (new DirtyBitmap(diskLengthBytes, granularityBytes), reason);
    }

    /// <summary>Gives room back. The directory on disk names it no more, and no change is in flight.</summary>
    public void Free(SidecarArea area)
    {
        area.Close();
        _taken.Remove(area.Range);
        try
        {
            sidecar.WriteZeroes(area.Range);
        }
        catch (BlockException)
        {
            // Only storage is lost: pages that are left there belong to no area any more.
        }
    }

    // Null when it does not lie in the file, or on another's.
    private SidecarArea? FindArea(SidecarEntry entry, long bitCount)
    {
        long offsetBytes = entry.DataOffsetBytes;
        long lengthBytes = SidecarArea.LengthFor(bitCount);
        if (offsetBytes < Sidecar.DataStartBytes || offsetBytes % SidecarPage.LengthBytes != 0 ||
            offsetBytes > sidecar.LengthBytes - lengthBytes || _taken.Exists(new BlockRange(offsetBytes, lengthBytes).Overlaps))
        {
            return null;
        }

        SidecarArea area = new(sidecar, offsetBytes, entry.AreaId, bitCount);
        _taken.Add(area.Range);
        return area;
    }
}
