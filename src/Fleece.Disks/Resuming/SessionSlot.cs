// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Disks.Resuming;

/// <summary>The part of a log that changes together with its state and takes more than a word.</summary>
/// <remarks>
/// <code>
/// 0   4   CRC-32C of the session's id and of bytes 4 to 79
/// 4   4   1: there is an instant; 2: there is evidence
/// 8   16  boot id
/// 24  8   instant, in units of 100 ns since the year 1, UTC
/// 32  24  image: file id, length, time of last change
/// 56  24  temp, likewise
/// </code>
/// </remarks>
/// <param name="BootId">The run of the system that the log belongs to.</param>
/// <param name="StartedAt">The instant; null when it has not come.</param>
/// <param name="Evidence">How an orderly end left the files.</param>
internal sealed record SessionSlot(Guid BootId, DateTimeOffset? StartedAt, SessionEvidence? Evidence)
{
    private const uint HasInstant = 1;
    private const uint HasEvidence = 2;

    public byte[] Encode(Guid id)
    {
        byte[] bytes = new byte[SessionLogLayout.SlotBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes.AsSpan(4), (StartedAt is null ? 0 : HasInstant) | (Evidence is null ? 0 : HasEvidence));
        BootId.TryWriteBytes(bytes.AsSpan(8));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), StartedAt?.UtcTicks ?? 0);
        Encode(Evidence?.Image ?? default, bytes.AsSpan(32));
        Encode(Evidence?.Temp ?? default, bytes.AsSpan(56));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Checksum(id, bytes));
        return bytes;
    }

    /// <summary>Reads a slot; null for a damaged one.</summary>
    public static SessionSlot? Decode(Guid id, ReadOnlySpan<byte> bytes)
    {
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        long ticks = BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Checksum(id, bytes[..SessionLogLayout.SlotBytes]) ||
            (flags & ~(HasInstant | HasEvidence)) != 0 || ticks < 0 || ticks > DateTime.MaxValue.Ticks)
        {
            return null;
        }

        return new SessionSlot(
            new Guid(bytes.Slice(8, 16)),
            (flags & HasInstant) == 0 ? null : new DateTimeOffset(ticks, TimeSpan.Zero),
            (flags & HasEvidence) == 0 ? null : new SessionEvidence(DecodeFile(bytes[32..]), DecodeFile(bytes[56..])));
    }

    private static void Encode(FileEvidence file, Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, file.FileId);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[8..], file.LengthBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[16..], file.ModifiedTicks);
    }

    private static FileEvidence DecodeFile(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]));

    private static uint Checksum(Guid id, ReadOnlySpan<byte> bytes)
    {
        Span<byte> idBytes = stackalloc byte[16];
        id.TryWriteBytes(idBytes);
        return ~Crc32C.Append(Crc32C.Append(uint.MaxValue, idBytes), bytes[sizeof(uint)..]);
    }
}
