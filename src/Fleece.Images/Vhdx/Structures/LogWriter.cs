// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>Writes entries to the log, one behind the other around the ring.</summary>
/// <remarks>
/// <para>Each entry is its own tail: when it is written, the pages of the one before are durable in their places. That
/// one must stay whole until the new entry is durable, because a torn entry makes it the head again; so an entry takes at most half
/// of the log. Replaying the older entry then is harmless: its pages have not been changed in place since.</para>
/// <para>Threading. One thread at a time.</para>
/// </remarks>
internal sealed class LogWriter(IContainerFile file, VhdxHeader header)
{
    private readonly LogRegion _log = new(file, header);
    private long _positionBytes;
    private ulong _sequenceNumber;

    /// <summary>The log's name in the header, new for each time the image is opened.</summary>
    public Guid LogGuid { get; } = Guid.NewGuid();

    /// <summary>Most pages of one entry.</summary>
    public int MaxPages { get; } = FindMaxPages(header.LogLengthBytes / 2);

    /// <summary>Writes an entry of whole pages; the caller makes it durable.</summary>
    /// <param name="offsetsBytes">Where each page belongs in the file.</param>
    /// <param name="pages">The pages, one behind the other.</param>
    /// <param name="fileBytes">The length of the file, which is durable.</param>
    public void Append(IReadOnlyList<long> offsetsBytes, ReadOnlySpan<byte> pages, long fileBytes)
    {
        int areaBytes = (int)LogEntry.DescriptorAreaBytes(offsetsBytes.Count);
        byte[] entry = new byte[areaBytes + pages.Length];
        _sequenceNumber++;
        WriteHeader(entry, offsetsBytes.Count, fileBytes);
        for (int i = 0; i < offsetsBytes.Count; i++)
        {
            ReadOnlySpan<byte> page = pages.Slice(i * VhdxFormat.PageBytes, VhdxFormat.PageBytes);
            Span<byte> descriptor = entry.AsSpan(LogEntry.HeaderBytes + (i * LogEntry.DescriptorBytes), LogEntry.DescriptorBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, LogEntry.DataDescriptorSignature);
            page[^4..].CopyTo(descriptor[4..]);
            page[..8].CopyTo(descriptor[8..]);
            BinaryPrimitives.WriteInt64LittleEndian(descriptor[16..], offsetsBytes[i]);
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor[24..], _sequenceNumber);
            Span<byte> sector = entry.AsSpan(areaBytes + (i * VhdxFormat.PageBytes), VhdxFormat.PageBytes);
            page.CopyTo(sector);
            BinaryPrimitives.WriteUInt32LittleEndian(sector, LogEntry.DataSectorSignature);
            BinaryPrimitives.WriteUInt32LittleEndian(sector[4..], (uint)(_sequenceNumber >> 32));
            BinaryPrimitives.WriteUInt32LittleEndian(sector[^4..], (uint)_sequenceNumber);
        }

        VhdxFormat.Seal(entry);
        _log.Write(_positionBytes, entry);
        _positionBytes = (_positionBytes + entry.Length) % _log.LengthBytes;
    }

    private void WriteHeader(Span<byte> entry, int descriptors, long fileBytes)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(entry, LogEntry.Signature);
        BinaryPrimitives.WriteInt32LittleEndian(entry[8..], entry.Length);
        BinaryPrimitives.WriteInt32LittleEndian(entry[12..], (int)_positionBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[16..], _sequenceNumber);
        BinaryPrimitives.WriteInt32LittleEndian(entry[24..], descriptors);
        LogGuid.TryWriteBytes(entry[32..]);
        BinaryPrimitives.WriteInt64LittleEndian(entry[48..], fileBytes);
        BinaryPrimitives.WriteInt64LittleEndian(entry[56..], fileBytes);
    }

    private static int FindMaxPages(long lengthBytes)
    {
        long pages = lengthBytes / VhdxFormat.PageBytes;
        while (LogEntry.DescriptorAreaBytes(pages) + (pages * VhdxFormat.PageBytes) > lengthBytes)
        {
            pages--;
        }

        return (int)pages;
    }
}
