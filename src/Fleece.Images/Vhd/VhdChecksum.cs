// SPDX-License-Identifier: MIT
namespace Fleece.Images.Vhd;

/// <summary>The checksum of footer and header ("Hard Disk Footer Format", Checksum).</summary>
internal static class VhdChecksum
{
    /// <summary>The ones' complement of the sum of all bytes, those of the checksum itself left out.</summary>
    /// <param name="structure">The whole structure.</param>
    /// <param name="fieldAt">Where its checksum field of 4 bytes is.</param>
    public static uint Compute(ReadOnlySpan<byte> structure, int fieldAt)
    {
        uint sum = 0;
        foreach (byte value in structure)
        {
            sum += value;
        }

        foreach (byte value in structure.Slice(fieldAt, sizeof(uint)))
        {
            sum -= value;
        }

        return ~sum;
    }
}
