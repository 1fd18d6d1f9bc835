// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The log: a ring of sectors of 4 KiB (MS-VHDX section 2.3).</summary>
internal readonly record struct LogRegion(IContainerFile File, long OffsetBytes, long LengthBytes)
{
    public LogRegion(IContainerFile file, VhdxHeader header)
        : this(file, header.LogOffsetBytes, header.LogLengthBytes)
    {
    }

    /// <summary>Where a place of the ring is in the file.</summary>
    public long ToFile(long positionBytes) => OffsetBytes + (positionBytes % LengthBytes);

    public void ReadSector(long positionBytes, Span<byte> sector) => File.Read(ToFile(positionBytes), sector);
}

/// <summary>A whole entry of the log, without its content (MS-VHDX section 2.3.1).</summary>
/// <remarks>
/// <code>
///  0  4  signature "loge"       24  4  descriptor_count     from 64, 32 bytes each:  0  4  signature "desc" or "zero"
///  4  4  checksum               28  4  reserved                                      4  4  trailing bytes (desc)
///  8  4  entry_length           32 16  log_guid                                      8  8  leading bytes, or length (zero)
/// 12  4  tail                   48  8  flushed_file_offset                          16  8  file_offset
/// 16  8  sequence_number        56  8  last_file_offset                             24  8  sequence_number
/// </code>
/// <para>Behind the sectors with descriptors comes one sector for each "desc": "data", the high half of the sequence number, the
/// bytes 8 to 4091 of the page, the low half of the sequence number.</para>
/// </remarks>
internal sealed record LogEntry
{
    public const uint Signature = 0x6567_6f6c;
    public const uint DataDescriptorSignature = 0x6373_6564;
    public const uint ZeroDescriptorSignature = 0x6f72_657a;
    public const uint DataSectorSignature = 0x6174_6164;
    public const int HeaderBytes = 64;
    public const int DescriptorBytes = 32;

    public required long PositionBytes { get; init; }

    public required long LengthBytes { get; init; }

    public required long TailBytes { get; init; }

    public required ulong SequenceNumber { get; init; }

    public required int DescriptorCount { get; init; }

    public required long FlushedFileBytes { get; init; }

    public required long LastFileBytes { get; init; }

    /// <summary>Bytes of the sectors that hold the header and the descriptors.</summary>
    public static long DescriptorAreaBytes(long descriptors) =>
        (HeaderBytes + (descriptors * DescriptorBytes) + VhdxFormat.PageBytes - 1) / VhdxFormat.PageBytes * VhdxFormat.PageBytes;

    /// <summary>The entry at a place of the log; null where there is none, or a torn one, or one of another log.</summary>
    /// <remarks>
    /// No sector can be the first of an entry and belong to the body of another, so looking at every sector of a log
    /// reads each at most twice, whatever the headers claim.
    /// </remarks>
    public static LogEntry? TryRead(LogRegion log, long positionBytes, Guid logGuid)
    {
        Span<byte> sector = stackalloc byte[VhdxFormat.PageBytes];
        log.ReadSector(positionBytes, sector);
        if (BinaryPrimitives.ReadUInt32LittleEndian(sector) != Signature || new Guid(sector[32..48]) != logGuid)
        {
            return null;
        }

        LogEntry entry = new()
        {
            PositionBytes = positionBytes,
            LengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(sector[8..]),
            TailBytes = BinaryPrimitives.ReadUInt32LittleEndian(sector[12..]),
            SequenceNumber = BinaryPrimitives.ReadUInt64LittleEndian(sector[16..]),
            DescriptorCount = BinaryPrimitives.ReadInt32LittleEndian(sector[24..]),
            FlushedFileBytes = BinaryPrimitives.ReadInt64LittleEndian(sector[48..]),
            LastFileBytes = BinaryPrimitives.ReadInt64LittleEndian(sector[56..]),
        };
        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(sector[VhdxFormat.ChecksumField..]);
        sector.Slice(VhdxFormat.ChecksumField, sizeof(uint)).Clear();
        return entry.HasPlausibleHeader(log) && entry.TryChecksum(log, sector, out uint actual) && actual == checksum ? entry : null;
    }

    private bool HasPlausibleHeader(LogRegion log) =>
        LengthBytes > 0 && LengthBytes <= log.LengthBytes && LengthBytes % VhdxFormat.PageBytes == 0
        && TailBytes < log.LengthBytes && TailBytes % VhdxFormat.PageBytes == 0
        && SequenceNumber != 0
        && DescriptorCount >= 0 && DescriptorAreaBytes(DescriptorCount) <= LengthBytes;

    // The checksum is over the whole entry. What a sector must begin with is looked at first, so that a wild length ends early.
    private bool TryChecksum(LogRegion log, Span<byte> sector, out uint checksum)
    {
        uint crc = Crc32C.Append(uint.MaxValue, sector);
        checksum = 0;
        long dataSectors = 0;
        for (int i = 0; i < DescriptorCount; i++)
        {
            long atBytes = HeaderBytes + ((long)i * DescriptorBytes);
            if (atBytes % VhdxFormat.PageBytes == 0)
            {
                log.ReadSector(PositionBytes + atBytes, sector);
                crc = Crc32C.Append(crc, sector);
            }

            ReadOnlySpan<byte> descriptor = sector.Slice((int)(atBytes % VhdxFormat.PageBytes), DescriptorBytes);
            uint signature = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
            if (signature is not (DataDescriptorSignature or ZeroDescriptorSignature)
                || BinaryPrimitives.ReadUInt64LittleEndian(descriptor[24..]) != SequenceNumber)
            {
                return false;
            }

            dataSectors += signature == DataDescriptorSignature ? 1 : 0;
        }

        long dataStartBytes = DescriptorAreaBytes(DescriptorCount);
        if (dataStartBytes + (dataSectors * VhdxFormat.PageBytes) != LengthBytes)
        {
            return false;
        }

        for (long atBytes = dataStartBytes; atBytes < LengthBytes; atBytes += VhdxFormat.PageBytes)
        {
            log.ReadSector(PositionBytes + atBytes, sector);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector) != DataSectorSignature
                || BinaryPrimitives.ReadUInt32LittleEndian(sector[4..]) != (uint)(SequenceNumber >> 32)
                || BinaryPrimitives.ReadUInt32LittleEndian(sector[^4..]) != (uint)SequenceNumber)
            {
                return false;
            }

            crc = Crc32C.Append(crc, sector);
        }

        checksum = ~crc;
        return true;
    }
}
