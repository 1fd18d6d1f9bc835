// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>The changes of the header that happen to an image in use.</summary>
internal static class Qcow2HeaderWriter
{
    // Other programs leave up to a cluster between the list and the name; what they left there is no data.
    private const int NamePaddingBytes = 1024;

    /// <summary>
    /// Sets the autoclear bits (qcow2.txt, "Header", bytes 88-95): each says that some extension, such as a dirty
    /// bitmap, agrees with the data, which a program that does not maintain the extension must take back before it
    /// writes.
    /// </summary>
    public static void WriteAutoclear(MetadataFile file, ulong features)
    {
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(word, features);
        file.Write(Qcow2Header.AutoclearField, word);
        file.Flush();
    }

    /// <summary>
    /// Writes other extensions behind the header ("Header extensions"), and the backing file's name behind them. All
    /// header fields stay, known or not.
    /// </summary>
    /// <exception cref="BlockException">InvalidArgument: they don't fit the first cluster; nothing was written.</exception>
    public static void WriteExtensions(MetadataFile file, Qcow2Header header, IReadOnlyList<HeaderExtension> extensions)
    {
        byte[] name = Encoding.UTF8.GetBytes(header.BackingName ?? string.Empty);
        int nameOffsetBytes = header.HeaderLengthBytes + extensions.SizeBytes();
        if (nameOffsetBytes + name.Length > header.ClusterBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The header of '{file.Path}' would take {nameOffsetBytes + name.Length} bytes with its extensions and names, and " +
                $"a cluster has {header.ClusterBytes}.",
                file.Path);
        }

        // The old list may have been longer: what follows the new one up to its end is cleared.
        int oldEndBytes = header.HeaderLengthBytes + header.Extensions.SizeBytes() + name.Length + NamePaddingBytes;
        byte[] bytes = new byte[Math.Min(header.ClusterBytes, Math.Max(nameOffsetBytes + name.Length, oldEndBytes))];
        file.Read(0, bytes.AsSpan(0, header.HeaderLengthBytes));
        extensions.CopyTo(bytes.AsSpan(header.HeaderLengthBytes));
        name.CopyTo(bytes, nameOffsetBytes);
        BinaryPrimitives.WriteInt64BigEndian(
            bytes.AsSpan(Qcow2Header.BackingOffsetField), name.Length == 0 ? 0 : nameOffsetBytes);

        file.Write(0, bytes);
        file.Flush();
    }
}
