// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>Makes entries of the log, one behind the other around the ring.</summary>
/// <remarks>
/// <para>Each entry is its own tail: when it is written, the pages of the one before are durable in their places. That
/// one must stay whole until the new entry is durable, because a torn entry makes it the head again; so an entry takes at most half
/// of the log. Replaying the older entry then is harmless: its pages have not been changed in place since.</para>
/// <para>Threading. One thread at a time.</para>
/// </remarks>
internal sealed class LogWriter(VhdxHeader header)
{
    private long _positionBytes;
    private ulong _sequenceNumber;

    /// <summary>The log's name in the header, new for each time the image is opened.</summary>
    public Guid LogGuid { get; } = Guid.NewGuid();

    /// <summary>Most pages of one entry of an image's log.</summary>
    public static int FindMaxPages(VhdxHeader header)
    {
        long lengthBytes = Math.Min(header.LogLengthBytes / 2, VhdxLimits.MaxNewEntryBytes);
        long pages = lengthBytes / VhdxFormat.PageBytes;
        while (LogEntry.DescriptorAreaBytes(pages) + (pages * VhdxFormat.PageBytes) > lengthBytes)
        {
            pages--;
        }

        return (int)pages;
    }

    /// <summary>Adds the next entry to what is to be written.</summary>
    /// <param name="writes">Takes it.</param>
    /// <param name="stage">The stage that it belongs to, which ends with a flush.</param>
    /// <param name="pages">The pages that it has: at least one, at most <see cref="FindMaxPages"/>.</param>
    /// <param name="fileBytes">The length of the file, which is durable before the entry is written.</param>
    public void Append(StagedWrites writes, int stage, IReadOnlyList<MetadataPage> pages, long fileBytes)
    {
        int areaBytes = (int)LogEntry.DescriptorAreaBytes(pages.Count);
        byte[] entry = new byte[areaBytes + (pages.Count * VhdxFormat.PageBytes)];
        _sequenceNumber++;
        WriteHeader(entry, pages.Count, fileBytes);
        for (int i = 0; i < pages.Count; i++)
        {
            ReadOnlySpan<byte> page = pages[i].Bytes;
            Span<byte> descriptor = entry.AsSpan(LogEntry.HeaderBytes + (i * LogEntry.DescriptorBytes), LogEntry.DescriptorBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, LogEntry.DataDescriptorSignature);
            page[^4..].CopyTo(descriptor[4..]);
            page[..8].CopyTo(descriptor[8..]);
            BinaryPrimitives.WriteInt64LittleEndian(descriptor[16..], pages[i].OffsetBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor[24..], _sequenceNumber);
            Span<byte> sector = entry.AsSpan(areaBytes + (i * VhdxFormat.PageBytes), VhdxFormat.PageBytes);
            page.CopyTo(sector);
            BinaryPrimitives.WriteUInt32LittleEndian(sector, LogEntry.DataSectorSignature);
            BinaryPrimitives.WriteUInt32LittleEndian(sector[4..], (uint)(_sequenceNumber >> 32));
            BinaryPrimitives.WriteUInt32LittleEndian(sector[^4..], (uint)_sequenceNumber);
        }

        VhdxFormat.Seal(entry);
        AddAroundRing(writes, stage, entry);
        _positionBytes = (_positionBytes + entry.Length) % header.LogLengthBytes;
    }

    private void AddAroundRing(StagedWrites writes, int stage, ReadOnlySpan<byte> entry)
    {
        int firstBytes = (int)Math.Min(entry.Length, header.LogLengthBytes - _positionBytes);
        entry[..firstBytes].CopyTo(writes.Add(stage, header.LogOffsetBytes + _positionBytes, firstBytes));
        if (firstBytes != entry.Length)
        {
            entry[firstBytes..].CopyTo(writes.Add(stage, header.LogOffsetBytes, entry.Length - firstBytes));
        }
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
}
