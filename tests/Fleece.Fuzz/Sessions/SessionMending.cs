// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Block.Logs;
using Fleece.Disks.Resuming;
using static Fleece.Disks.Resuming.SessionLogLayout;

namespace Fleece.Fuzz.Sessions;

/// <summary>Checksums that fit again after a change of a log or of maps.</summary>
internal static class SessionMending
{
    private const int MapsChecksumAt = 12;

    /// <summary>Mends a log as far as its parts are there.</summary>
    public static void Mend(byte[] log)
    {
        if (log.Length < DescriptionAt)
        {
            return;
        }

        foreach (int at in (int[])[StateAt, CountAt, BrokenAt, LostAt])
        {
            ulong number = BinaryPrimitives.ReadUInt64LittleEndian(log.AsSpan(at)) & SealedWord.Maximum;
            BinaryPrimitives.WriteUInt64LittleEndian(log.AsSpan(at), SealedWord.Encode((ulong)at, number));
        }

        for (int slot = 0; slot < 2; slot++)
        {
            Seal(log.AsSpan(SlotsAt + (slot * SlotStrideBytes), SlotBytes), SessionCorpus.Id);
        }

        MendText(log, BrokenAt, BrokenTextAt);
        MendText(log, LostAt, LostTextAt);
        uint lengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(log.AsSpan(DescriptionLengthAt));
        if (lengthBytes <= log.Length - DescriptionAt)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(
                log.AsSpan(DescriptionChecksumAt), Crc32C.Of(log.AsSpan(DescriptionAt, (int)lengthBytes)));
            MendRecords(log, RecordsAt((int)lengthBytes));
        }

        MendHead(log);
    }

    /// <summary>Mends maps as far as their entries are in order.</summary>
    public static void MendMaps(byte[] maps)
    {
        if (maps.Length < SessionMapsFormat.HeadBytes)
        {
            return;
        }

        Span<byte> head = maps.AsSpan(0, SessionMapsFormat.HeadBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MapsChecksumAt..], Crc32C.OfSealed(head, MapsChecksumAt));
        for (int at = SessionMapsFormat.HeadBytes; at <= maps.Length - SessionMapsFormat.EntryBytes;)
        {
            Span<byte> entry = maps.AsSpan(at, SessionMapsFormat.EntryBytes);
            SessionMapsFormat.EntryKind kind = SessionMapsFormat.KindOf(entry);
            int bitsAt = at + SessionMapsFormat.EntryBytes;
            int bitsBytes = kind == SessionMapsFormat.EntryKind.Bits ? SessionMapsFormat.PageBytes : 0;
            if (bitsBytes > maps.Length - bitsAt)
            {
                return;
            }

            SessionMapsFormat.EncodeEntry(
                entry,
                head,
                at,
                BinaryPrimitives.ReadInt32LittleEndian(entry[4..]),
                kind,
                BinaryPrimitives.ReadInt64LittleEndian(entry[16..]),
                BinaryPrimitives.ReadInt64LittleEndian(entry[24..]),
                maps.AsSpan(bitsAt, bitsBytes));
            at = bitsAt + bitsBytes;
        }
    }

    /// <summary>Has a log name maps as they are.</summary>
    public static void Name(byte[] log, byte[] maps)
    {
        BinaryPrimitives.WriteInt64LittleEndian(log.AsSpan(MapsLengthAt), maps.Length);
        SHA256.HashData(maps).CopyTo(log.AsSpan(MapsDigestAt));
        MendHead(log);
    }

    private static void MendHead(byte[] log) => BinaryPrimitives.WriteUInt32LittleEndian(
        log.AsSpan(ChecksumAt), Crc32C.OfSealed(log.AsSpan(0, HeadBytes), ChecksumAt));

    private static void MendText(byte[] log, int wordAt, int textAt)
    {
        ulong lengthBytes = BinaryPrimitives.ReadUInt64LittleEndian(log.AsSpan(wordAt)) & SealedWord.Maximum;
        if (lengthBytes is >= sizeof(uint) and <= TextBytes)
        {
            Seal(log.AsSpan(textAt, (int)lengthBytes), SessionCorpus.Id);
        }
    }

    private static void MendRecords(byte[] log, int startAt)
    {
        long countBytes = (long)(BinaryPrimitives.ReadUInt64LittleEndian(log.AsSpan(CountAt)) & SealedWord.Maximum);
        Span<byte> place = stackalloc byte[16 + sizeof(long)];
        log.AsSpan(FileIdAt, 16).CopyTo(place);
        for (int at = startAt; at < startAt + countBytes && at <= log.Length - RecordLog.HeaderBytes;)
        {
            int recordBytes = RecordLog.RecordBytes(BinaryPrimitives.ReadUInt16LittleEndian(log.AsSpan(at + 6)));
            if (recordBytes > log.Length - at)
            {
                return;
            }

            BinaryPrimitives.WriteInt64LittleEndian(place[16..], at - startAt);
            Span<byte> record = log.AsSpan(at, recordBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(
                record, ~Crc32C.Append(Crc32C.Append(uint.MaxValue, place), record[sizeof(uint)..]));
            at += recordBytes;
        }
    }

    // The first four bytes of a part are the checksum of the session's id and of the rest.
    private static void Seal(Span<byte> part, Guid id)
    {
        Span<byte> idBytes = stackalloc byte[16];
        id.TryWriteBytes(idBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(
            part, ~Crc32C.Append(Crc32C.Append(uint.MaxValue, idBytes), part[sizeof(uint)..]));
    }
}
