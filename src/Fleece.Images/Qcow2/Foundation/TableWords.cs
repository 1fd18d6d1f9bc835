// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2.Foundation;

/// <summary>Reads the tables of the format, whose entries are 64-bit big-endian words (qcow2.txt).</summary>
internal static class TableWords
{
    /// <summary>Reads entries as they are; behind the end of the file they are 0.</summary>
    /// <param name="file">The image.</param>
    /// <param name="offsetBytes">Where the table begins.</param>
    /// <param name="count">How many entries; judged before, because it sizes an allocation.</param>
    public static ulong[] Read(IContainerFile file, long offsetBytes, long count)
    {
        ulong[] words = new ulong[count];
        file.Read(offsetBytes, MemoryMarshal.AsBytes(words.AsSpan()));
        if (BitConverter.IsLittleEndian)
        {
            BinaryPrimitives.ReverseEndianness(words, words);
        }

        return words;
    }
}
