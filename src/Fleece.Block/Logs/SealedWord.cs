// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Block.Logs;

/// <summary>A number in eight bytes that tell whether they are whole: one store changes it, and damage shows.</summary>
/// <remarks>
/// <code>
/// bits 0 to 39    the number
/// bits 40 to 63   the low 24 bits of the CRC-32C of the place's name (8 bytes) and the number (8 bytes), little-endian
/// </code>
/// </remarks>
internal static class SealedWord
{
    /// <summary>The largest number.</summary>
    public const ulong Maximum = (1UL << NumberBits) - 1;

    private const int NumberBits = 40;

    /// <summary>A number as it is stored.</summary>
    /// <param name="place">What the number is of: an offset in the file, or a name.</param>
    /// <param name="number">At most <see cref="Maximum"/>.</param>
    public static ulong Encode(ulong place, ulong number)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(number, Maximum);
        return number | ((ulong)Check(place, number) << NumberBits);
    }

    /// <summary>Reads a number; false for a word that was stored for another place, or is damaged.</summary>
    public static bool TryDecode(ulong place, ulong word, out ulong number)
    {
        number = word & Maximum;
        return word == (number | ((ulong)Check(place, number) << NumberBits));
    }

    private static uint Check(ulong place, ulong number)
    {
        Span<byte> bytes = stackalloc byte[2 * sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, place);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[sizeof(ulong)..], number);
        return Crc32C.Of(bytes) & 0xFF_FFFF;
    }
}
