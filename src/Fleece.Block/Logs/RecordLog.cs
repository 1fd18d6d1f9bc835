// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Fleece.Block.Logs;

/// <summary>Checksummed records, one behind the other in a part of a <see cref="MappedFile"/>.</summary>
/// <remarks>
/// <para>A number in the file says how many bytes of records count, and grows by one store behind each record. So a record that was torn by
/// the end of the process does not count, and neither does what followed it; damage to one that counts shows, because its checksum is
/// wrong.</para>
/// <code>
/// 0   4   CRC-32C of the log's id (16 bytes), the record's offset behind the first (8 bytes), and its bytes from 4 on, padding included
/// 4   2   kind, 1 to 65535
/// 6   2   bytes of the payload
/// 8       payload, then zeros up to a multiple of 8
/// </code>
/// <para>Numbers are little-endian. Threading. One call at a time. Ownership. The file is its caller's.</para>
/// </remarks>
internal sealed class RecordLog
{
    /// <summary>Bytes of a record before its payload.</summary>
    public const int HeaderBytes = 8;

    /// <summary>Longest payload.</summary>
    public const int MaximumPayloadBytes = 4096;

    private readonly MappedFile _file;
    private readonly long _countOffsetBytes;
    private readonly uint _seed;

    /// <param name="file">Has the records.</param>
    /// <param name="id">Of the log; no two logs have one id.</param>
    /// <param name="countOffsetBytes">Where the number of counting bytes lies in the file, a multiple of 8.</param>
    /// <param name="startBytes">Where the first record lies, a multiple of 8.</param>
    public RecordLog(MappedFile file, Guid id, long countOffsetBytes, long startBytes)
    {
        _file = file;
        _countOffsetBytes = countOffsetBytes;
        StartBytes = startBytes;
        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes);
        _seed = Crc32C.Append(uint.MaxValue, bytes);
    }

    /// <summary>Where the first record lies in the file.</summary>
    public long StartBytes { get; }

    /// <summary>Bytes of the records that count.</summary>
    public long CountBytes { get; private set; }

    /// <summary>What a payload takes as a record.</summary>
    public static int RecordBytes(int payloadBytes) => HeaderBytes + ((payloadBytes + 7) & -8);

    /// <summary>Makes the log empty, in one step.</summary>
    public void Clear()
    {
        _file.StoreNumber(_countOffsetBytes, 0);
        CountBytes = 0;
    }

    /// <summary>Adds a record, which counts when the call returns.</summary>
    /// <param name="kind">1 to 65535.</param>
    /// <param name="payload">At most <see cref="MaximumPayloadBytes"/>.</param>
    /// <param name="endBytes">Where the log's room ends in the file.</param>
    /// <returns>False when the room is too small; nothing has changed then.</returns>
    /// <exception cref="BlockException">As <see cref="MappedFile.Write"/>. The record may count or not, and the next one takes its place.
    /// </exception>
    [SkipLocalsInit]
    public bool TryAppend(ushort kind, ReadOnlySpan<byte> payload, long endBytes)
    {
        int recordBytes = RecordBytes(payload.Length);
        long offsetBytes = StartBytes + CountBytes;
        if (offsetBytes + recordBytes > endBytes)
        {
            return false;
        }

        Span<byte> record = stackalloc byte[HeaderBytes + MaximumPayloadBytes];
        record = record[..recordBytes];
        record[^sizeof(ulong)..].Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(record[4..], kind);
        BinaryPrimitives.WriteUInt16LittleEndian(record[6..], (ushort)payload.Length);
        payload.CopyTo(record[HeaderBytes..]);
        BinaryPrimitives.WriteUInt32LittleEndian(record, Checksum(CountBytes, record));
        _file.Write(offsetBytes, record);
        FailPoint.Reach("record-written");
        _file.StoreNumber(_countOffsetBytes, (ulong)(CountBytes + recordBytes));
        CountBytes += recordBytes;
        return true;
    }

    /// <summary>Reads the records that count, in their order, and goes on behind them.</summary>
    /// <param name="endBytes">Where the log's room ends in the file.</param>
    /// <param name="read">Hears of each record; its payload is valid during the call.</param>
    /// <returns>What is wrong with the log, as a part of a sentence; null when nothing is.</returns>
    public string? Read(long endBytes, RecordReader read)
    {
        if (!_file.TryReadNumber(_countOffsetBytes, out ulong counted))
        {
            return "the number of its records is damaged";
        }

        if ((counted & 7) != 0 || StartBytes + (long)counted > endBytes)
        {
            return $"it is to have {counted} bytes of records, and there is room for {endBytes - StartBytes}";
        }

        byte[] record = new byte[HeaderBytes + MaximumPayloadBytes];
        for (long atBytes = 0; atBytes < (long)counted;)
        {
            _file.Read(StartBytes + atBytes, record.AsSpan(0, HeaderBytes));
            int payloadBytes = BinaryPrimitives.ReadUInt16LittleEndian(record.AsSpan(6));
            int recordBytes = RecordBytes(payloadBytes);
            ushort kind = BinaryPrimitives.ReadUInt16LittleEndian(record.AsSpan(4));
            if (payloadBytes > MaximumPayloadBytes || kind == 0 || atBytes + recordBytes > (long)counted)
            {
                return $"the record at offset {StartBytes + atBytes} is damaged";
            }

            Span<byte> whole = record.AsSpan(0, recordBytes);
            _file.Read(StartBytes + atBytes, whole);
            if (BinaryPrimitives.ReadUInt32LittleEndian(whole) != Checksum(atBytes, whole))
            {
                return $"the record at offset {StartBytes + atBytes} is damaged";
            }

            if (read(kind, whole.Slice(HeaderBytes, payloadBytes)) is { } fault)
            {
                return fault;
            }

            atBytes += recordBytes;
        }

        CountBytes = (long)counted;
        return null;
    }

    private uint Checksum(long offsetBytes, ReadOnlySpan<byte> record)
    {
        Span<byte> place = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(place, offsetBytes);
        return ~Crc32C.Append(Crc32C.Append(_seed, place), record[sizeof(uint)..]);
    }
}

/// <summary>Hears of a record; returns what is wrong with it, as a part of a sentence, or null.</summary>
internal delegate string? RecordReader(ushort kind, ReadOnlySpan<byte> payload);
