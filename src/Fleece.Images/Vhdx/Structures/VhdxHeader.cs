// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>One header (MS-VHDX section 2.2.2).</summary>
/// <remarks>
/// <code>
///  0  4  signature "head"       48 16  log_guid, zero when the log is empty
///  4  4  checksum               64  2  log_version, 0
///  8  8  sequence_number        66  2  version, 1
/// 16 16  file_write_guid        68  4  log_length
/// 32 16  data_write_guid        72  8  log_offset
/// </code>
/// </remarks>
internal sealed record VhdxHeader
{
    public const uint Signature = 0x6461_6568;
    public const int Version = 1;

    public required ulong SequenceNumber { get; init; }

    public required Guid FileWriteGuid { get; init; }

    public required Guid DataWriteGuid { get; init; }

    public required Guid LogGuid { get; init; }

    public required long LogOffsetBytes { get; init; }

    public required long LogLengthBytes { get; init; }

    /// <summary>False for an image without a log, which is only read: nothing there would make a change of its metadata whole.</summary>
    public bool HasLog => LogLengthBytes != 0;

    /// <summary>Reads a header; null when its signature or its checksum is wrong.</summary>
    /// <exception cref="Fleece.Block.BlockException">Unsupported, Corrupt: whole, and not to be used.</exception>
    public static VhdxHeader? TryRead(IContainerFile file, long offsetBytes)
    {
        Span<byte> bytes = stackalloc byte[VhdxFormat.PageBytes];
        file.Read(offsetBytes, bytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Signature || !VhdxFormat.IsSealed(bytes))
        {
            return null;
        }

        int version = BinaryPrimitives.ReadUInt16LittleEndian(bytes[66..]);
        int logVersion = BinaryPrimitives.ReadUInt16LittleEndian(bytes[64..]);
        if (version != Version || logVersion != 0)
        {
            throw FormatFault.Vhdx.Unsupported(
                file.Path,
                $"its header's version is {version} and its log_version {logVersion}, Fleece handles {Version} and 0");
        }

        VhdxHeader header = new()
        {
            SequenceNumber = BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            FileWriteGuid = new Guid(bytes[16..32]),
            DataWriteGuid = new Guid(bytes[32..48]),
            LogGuid = new Guid(bytes[48..64]),
            LogLengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[68..]),
            LogOffsetBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[72..]),
        };
        header.CheckLog(file.Path, offsetBytes);
        return header;
    }

    public void WriteTo(IContainerFile file, long offsetBytes) => file.Write(offsetBytes, ToBytes());

    /// <summary>The header as it is on disk, with its checksum.</summary>
    public byte[] ToBytes()
    {
        byte[] page = new byte[VhdxFormat.PageBytes];
        Span<byte> bytes = page;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Signature);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], SequenceNumber);
        FileWriteGuid.TryWriteBytes(bytes[16..]);
        DataWriteGuid.TryWriteBytes(bytes[32..]);
        LogGuid.TryWriteBytes(bytes[48..]);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[66..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[68..], (uint)LogLengthBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[72..], LogOffsetBytes);
        VhdxFormat.Seal(bytes);
        return page;
    }

    private void CheckLog(string path, long offsetBytes)
    {
        if (LogLengthBytes > VhdxLimits.MaxLogBytes || LogLengthBytes % VhdxFormat.MiB != 0)
        {
            throw FormatFault.Vhdx.Corrupt(
                path,
                $"the header's log_length is {LogLengthBytes}, it must be a multiple of 1 MiB up to {VhdxLimits.MaxLogBytes}",
                offsetBytes);
        }

        long leastBytes = HasLog ? VhdxFormat.MiB : 0;
        if (LogOffsetBytes < leastBytes || LogOffsetBytes > VhdxLimits.MaxFileBytes || LogOffsetBytes % VhdxFormat.MiB != 0)
        {
            throw FormatFault.Vhdx.Corrupt(
                path,
                $"the header's log_offset is {(ulong)LogOffsetBytes}, it must be a multiple of 1 MiB behind the headers",
                offsetBytes);
        }
    }
}
