// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>A page of 4 KiB of the BAT or of a sector bitmap: what the log changes at once. Its key is its number in the file.</summary>
/// <remarks>Threading. Words are read by any thread without a lock; they are changed under the metadata lock. An object is filled
/// once.</remarks>
internal sealed class MetadataPage : ClockEntry
{
    public const int WordCount = VhdxFormat.PageBytes / sizeof(ulong);

    private readonly ulong[] _words = new ulong[WordCount];

    public long OffsetBytes => Key * VhdxFormat.PageBytes;

    public Span<byte> Bytes => MemoryMarshal.AsBytes(_words.AsSpan());

    /// <summary>A word as the file has it: little-endian.</summary>
    public ulong this[int index]
    {
        get => Swap(Volatile.Read(ref _words[index]));
        set => Volatile.Write(ref _words[index], Swap(value));
    }

    private static ulong Swap(ulong word) => BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
}
