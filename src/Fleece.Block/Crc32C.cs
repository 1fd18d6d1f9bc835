// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;

namespace Fleece.Block;

/// <summary>CRC-32C (Castagnoli; RFC 3720, section 12.1): the checksum of VHDX and of the files Fleece keeps beside images.</summary>
/// <remarks>Threading. All members are safe from any thread; nothing is allocated.</remarks>
internal static class Crc32C
{
    /// <summary>The checksum of some bytes.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes) => ~Append(uint.MaxValue, bytes);

    /// <summary>Goes on with a checksum that began with all ones; its complement is the checksum.</summary>
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length >= sizeof(ulong))
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[sizeof(ulong)..];
        }

        foreach (byte value in bytes)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return crc;
    }

    /// <summary>The checksum of a structure that holds it, in four bytes that count as zeros.</summary>
    /// <param name="structure">All of the structure.</param>
    /// <param name="fieldOffset">Where the four bytes are in it.</param>
    public static uint OfSealed(ReadOnlySpan<byte> structure, int fieldOffset)
    {
        uint crc = Append(uint.MaxValue, structure[..fieldOffset]);
        crc = BitOperations.Crc32C(crc, 0u);
        return ~Append(crc, structure[(fieldOffset + sizeof(uint))..]);
    }
}
