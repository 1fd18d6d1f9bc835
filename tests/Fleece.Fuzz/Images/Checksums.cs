// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;

namespace Fleece.Fuzz.Images;

/// <summary>Makes the checksums of a mutated image right again, so that what lies behind them is reached.</summary>
internal static class Checksums
{
    private const int SectorBytes = 512;
    private const int KiB = 1024;

    public static void Mend(byte[] file)
    {
        MendVhd(file);
        MendVhdx(file);
    }

    // VHD specification 1.0, "Hard Disk Footer Format" and "Dynamic Disk Header Format": ones' complement of the sum of bytes.
    private static void MendVhd(byte[] file)
    {
        for (int at = 0; at + SectorBytes <= file.Length; at += SectorBytes)
        {
            ReadOnlySpan<byte> head = file.AsSpan(at, 8);
            if (head.SequenceEqual("conectix"u8))
            {
                MendSum(file.AsSpan(at, SectorBytes), 64);
            }
            else if (head.SequenceEqual("cxsparse"u8) && at + (2 * SectorBytes) <= file.Length)
            {
                MendSum(file.AsSpan(at, 2 * SectorBytes), 36);
            }
        }
    }

    private static void MendSum(Span<byte> structure, int fieldAt)
    {
        structure.Slice(fieldAt, sizeof(uint)).Clear();
        uint sum = 0;
        foreach (byte value in structure)
        {
            sum += value;
        }

        BinaryPrimitives.WriteUInt32BigEndian(structure[fieldAt..], ~sum);
    }

    // MS-VHDX 2.2.2 (headers), 2.2.3 (region tables), 2.3.1 (log entries, with their length): CRC-32C with the field as zeros.
    private static void MendVhdx(byte[] file)
    {
        if (!file.AsSpan().StartsWith("vhdxfile"u8))
        {
            return;
        }

        for (int at = 64 * KiB; at + (4 * KiB) <= file.Length; at += 4 * KiB)
        {
            ReadOnlySpan<byte> signature = file.AsSpan(at, 4);
            uint lengthBytes =
                signature.SequenceEqual("head"u8) ? 4 * KiB :
                signature.SequenceEqual("regi"u8) ? 64 * KiB :
                signature.SequenceEqual("loge"u8) ? BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)) : 0;
            if (lengthBytes >= 8 && lengthBytes <= file.Length - at)
            {
                MendCrc(file.AsSpan(at, (int)lengthBytes));
            }
        }
    }

    private static void MendCrc(Span<byte> structure)
    {
        Span<byte> field = structure.Slice(4, sizeof(uint));
        field.Clear();
        uint crc = uint.MaxValue;
        foreach (byte value in structure)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(field, ~crc);
    }
}
