// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Disks.Resuming;

/// <summary>Why a session broke, and why it is lost, in the room that each log keeps for them. Too long ones are cut at a character.
/// </summary>
/// <remarks>
/// <code>
/// 0   4   CRC-32C of the session's id and of the rest
/// 4   8   offset in the file that failed; -1 for none, and in a reason
/// 12  8   bytes of the kind, the operation, the path and the message, 2 each; a reason is a message
/// 20      these four in UTF-8
/// </code>
/// </remarks>
internal static class SessionTexts
{
    private const int HeaderBytes = 20;
    private const int MaximumWordBytes = 128;
    private const int MaximumPathBytes = 4096; // Linux, PATH_MAX
    private const int MaximumMessageBytes = 3600;

    /// <summary>Why a session broke, as bytes.</summary>
    public static byte[] Encode(Guid id, BlockException cause) =>
        Encode(id, cause.OffsetBytes ?? -1, cause.Kind, cause.Operation ?? "", cause.Path ?? "", cause.Message);

    /// <summary>Why a session is lost, as bytes.</summary>
    public static byte[] Encode(Guid id, string reason) => Encode(id, -1, "", "", "", reason);

    /// <summary>Reads why a session broke; null for damaged bytes.</summary>
    public static BlockException? DecodeCause(Guid id, ReadOnlySpan<byte> bytes) =>
        Decode(id, bytes, out long offsetBytes) is not [{ Length: > 0 } kind, var operation, var path, var message] ? null
            : new BlockException(
                kind,
                message,
                path.Length == 0 ? null : path,
                offsetBytes < 0 ? null : offsetBytes,
                operation.Length == 0 ? null : operation);

    /// <summary>Reads why a session is lost; null for damaged bytes.</summary>
    public static string? DecodeReason(Guid id, ReadOnlySpan<byte> bytes) => Decode(id, bytes, out _)?[3];

    private static byte[] Encode(Guid id, long offsetBytes, string kind, string operation, string path, string message)
    {
        byte[][] texts = [Cut(kind, MaximumWordBytes), Cut(operation, MaximumWordBytes), Cut(path, MaximumPathBytes),
            Cut(message, MaximumMessageBytes)];
        byte[] bytes = new byte[HeaderBytes + texts.Sum(text => text.Length)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(4), offsetBytes);
        int at = HeaderBytes;
        for (int i = 0; i < texts.Length; i++)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(12 + 2 * i), (ushort)texts[i].Length);
            texts[i].CopyTo(bytes, at);
            at += texts[i].Length;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Checksum(id, bytes));
        return bytes;
    }

    private static string[]? Decode(Guid id, ReadOnlySpan<byte> bytes, out long offsetBytes)
    {
        offsetBytes = -1;
        if (bytes.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Checksum(id, bytes))
        {
            return null;
        }

        offsetBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[4..]);
        string[] texts = new string[4];
        int at = HeaderBytes;
        for (int i = 0; i < texts.Length; i++)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(bytes[(12 + 2 * i)..]);
            if (length > bytes.Length - at)
            {
                return null;
            }

            texts[i] = Encoding.UTF8.GetString(bytes.Slice(at, length));
            at += length;
        }

        return texts;
    }

    private static byte[] Cut(string text, int maximumBytes) => Encoding.UTF8.GetBytes(FileNames.Shorten(text, maximumBytes));

    private static uint Checksum(Guid id, ReadOnlySpan<byte> bytes)
    {
        Span<byte> idBytes = stackalloc byte[16];
        id.TryWriteBytes(idBytes);
        return ~Crc32C.Append(Crc32C.Append(uint.MaxValue, idBytes), bytes[sizeof(uint)..]);
    }
}
