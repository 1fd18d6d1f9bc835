// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Fuzz.Images;

/// <summary>Image files without their zeros, because fuzzers of bytes and repositories want small ones.</summary>
/// <remarks>
/// Little-endian: the magic "FLZSPARS", the length in bytes (4), and for each run of sectors that are not all zeros its first
/// sector (4), its count (4) and its bytes. Bytes without the magic are a file as it is.
/// </remarks>
internal static class SparseForm
{
    private const int SectorBytes = 512;
    private const int MaximumBytes = 32 * 1024 * 1024;

    private static ReadOnlySpan<byte> Magic => "FLZSPARS"u8;

    public static byte[] Pack(byte[] file)
    {
        using MemoryStream packed = new();
        packed.Write(Magic);
        WriteNumber(packed, file.Length);
        for (int at = 0; at < file.Length;)
        {
            int endBytes = at;
            while (endBytes < file.Length && !IsZero(file, endBytes))
            {
                endBytes += SectorBytes;
            }

            if (endBytes > at)
            {
                WriteNumber(packed, at / SectorBytes);
                WriteNumber(packed, (endBytes - at) / SectorBytes);
                packed.Write(file.AsSpan(at, Math.Min(endBytes, file.Length) - at));
            }

            at = endBytes + SectorBytes;
        }

        return packed.Length < file.Length ? packed.ToArray() : file;
    }

    /// <summary>The file; what a fuzzer has damaged in the form itself is left out.</summary>
    public static byte[] Unpack(byte[] input)
    {
        ReadOnlySpan<byte> rest = input;
        if (!rest.StartsWith(Magic) || rest.Length < Magic.Length + sizeof(int))
        {
            return input;
        }

        byte[] file = new byte[Math.Min(MaximumBytes, BinaryPrimitives.ReadUInt32LittleEndian(rest[Magic.Length..]))];
        rest = rest[(Magic.Length + sizeof(int))..];
        while (rest.Length > 2 * sizeof(int))
        {
            long offsetBytes = BinaryPrimitives.ReadUInt32LittleEndian(rest) * (long)SectorBytes;
            long lengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(rest[sizeof(int)..]) * (long)SectorBytes;
            rest = rest[(2 * sizeof(int))..];
            int countBytes = (int)Math.Min(lengthBytes, rest.Length);
            int insideBytes = (int)Math.Clamp(file.Length - offsetBytes, 0, countBytes);
            if (insideBytes != 0)
            {
                rest[..insideBytes].CopyTo(file.AsSpan((int)offsetBytes));
            }

            rest = rest[countBytes..];
        }

        return file;
    }

    private static bool IsZero(byte[] file, int at) =>
        !file.AsSpan(at, Math.Min(SectorBytes, file.Length - at)).ContainsAnyExcept((byte)0);

    private static void WriteNumber(MemoryStream stream, int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }
}
