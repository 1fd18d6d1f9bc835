// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Resuming.Tests.Truth;

/// <summary>The content of sectors: each says which write it came from and where it belongs, in every one of its words.</summary>
internal static class Sectors
{
    /// <summary>Bytes of a sector.</summary>
    public const int SizeBytes = 512;

    /// <summary>The value of a sector whose words differ. No write has it.</summary>
    public const ulong Torn = ulong.MaxValue;

    private const int PlaceBits = 24;

    /// <summary>The content that a write leaves in a sector; write 0 is zeros.</summary>
    public static ulong ValueOf(ulong write, int sector) => write == 0 ? 0 : (write << PlaceBits) | (uint)sector;

    /// <summary>A value for a message.</summary>
    public static string Describe(ulong value) => value switch
    {
        0 => "zeros",
        Torn => "words that differ",
        _ => $"write {value >> PlaceBits} of sector {value & ((1 << PlaceBits) - 1)}",
    };

    /// <summary>Fills a buffer with a write's sectors.</summary>
    public static void Fill(Span<byte> data, int firstSector, ulong write)
    {
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(data);
        const int Each = SizeBytes / sizeof(ulong);
        for (int i = 0; i * Each < words.Length; i++)
        {
            words.Slice(i * Each, Each).Fill(ValueOf(write, firstSector + i));
        }
    }

    /// <summary>The value of a sector in a buffer.</summary>
    public static ulong Read(ReadOnlySpan<byte> data, int index)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(data.Slice(index * SizeBytes, SizeBytes));
        return words.ContainsAnyExcept(words[0]) ? Torn : words[0];
    }
}
