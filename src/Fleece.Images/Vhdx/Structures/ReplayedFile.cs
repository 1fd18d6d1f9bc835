// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>A file as it will be when its log is replayed; it is not changed.</summary>
/// <remarks>
/// <para>In memory is where in the log each replayed page lies, not the page: at most
/// <see cref="VhdxLimits.MaxReplayedPages"/> of them.</para>
/// <para>A replayed page of data is made of three parts (MS-VHDX section 2.3.1.3): its first 8 bytes and its last 4 stand in the
/// descriptor, because the sector of the log has a signature and the sequence number there.</para>
/// <para>Ownership. It owns the file.</para>
/// </remarks>
internal sealed class ReplayedFile : IContainerFile
{
    private const int LeadingBytes = 8;
    private const int TrailingBytes = 4;

    private readonly IContainerFile _file;
    private readonly Dictionary<long, LoggedPage> _pages = [];
    private readonly long[] _order;
    private readonly long _lengthBytes;

    /// <exception cref="BlockException">Corrupt: a descriptor points where no replay may write; Unsupported: too much to
    /// replay.</exception>
    public ReplayedFile(IContainerFile file, VhdxHeader header, LogSequence sequence)
    {
        _file = file;
        _lengthBytes = Math.Max(file.GetLength(), sequence.Head.LastFileBytes);
        LogRegion log = new(file, header);
        foreach (LogEntry entry in sequence.Entries)
        {
            Add(log, entry);
        }

        _order = [.. _pages.Keys.Order()];
    }

    // Where the middle of the page lies in the file, 0 for a page of zeros; and the bytes around it.
    private readonly record struct LoggedPage(long SectorOffsetBytes, ulong Leading, uint Trailing);

    public string Path => _file.Path;

    public bool IsReadOnly => true;

    public long MaximumLengthBytes => _lengthBytes;

    public long GetLength() => _lengthBytes;

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        _file.Read(offsetBytes, buffer);
        long endBytes = offsetBytes + buffer.Length;
        int index = Array.BinarySearch(_order, offsetBytes / VhdxFormat.PageBytes);
        Span<byte> page = stackalloc byte[VhdxFormat.PageBytes];
        for (index = index < 0 ? ~index : index; index < _order.Length; index++)
        {
            long pageBytes = _order[index] * VhdxFormat.PageBytes;
            if (pageBytes >= endBytes)
            {
                break;
            }

            ReadPage(_order[index], page);
            long fromBytes = Math.Max(pageBytes, offsetBytes);
            long toBytes = Math.Min(pageBytes + VhdxFormat.PageBytes, endBytes);
            page[(int)(fromBytes - pageBytes)..(int)(toBytes - pageBytes)].CopyTo(buffer[(int)(fromBytes - offsetBytes)..]);
        }
    }

    /// <summary>Makes the file what this is: every page in its place, durably. It may be done again after a crash.</summary>
    public void Replay()
    {
        if (_file.GetLength() < _lengthBytes)
        {
            _file.SetLength(_lengthBytes);
        }

        byte[] page = new byte[VhdxFormat.PageBytes];
        foreach (long index in _order)
        {
            ReadPage(index, page);
            _file.Write(index * VhdxFormat.PageBytes, page);
        }

        _file.Flush();
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data) => throw ReadOnly();

    public void Zero(long offsetBytes, long lengthBytes) => throw ReadOnly();

    public BlockStatusRun FindExtent(BlockRange range) => new(BlockStatus.Data, range.LengthBytes);

    public void SetLength(long lengthBytes) => throw ReadOnly();

    public void Flush()
    {
    }

    public void Dispose() => _file.Dispose();

    private void ReadPage(long index, Span<byte> page)
    {
        LoggedPage logged = _pages[index];
        if (logged.SectorOffsetBytes == 0)
        {
            page.Clear();
            return;
        }

        _file.Read(logged.SectorOffsetBytes, page);
        BinaryPrimitives.WriteUInt64LittleEndian(page, logged.Leading);
        BinaryPrimitives.WriteUInt32LittleEndian(page[^TrailingBytes..], logged.Trailing);
    }

    private void Add(LogRegion log, LogEntry entry)
    {
        Span<byte> descriptor = stackalloc byte[LogEntry.DescriptorBytes];
        long dataBytes = entry.PositionBytes + LogEntry.DescriptorAreaBytes(entry.DescriptorCount);
        for (int i = 0; i < entry.DescriptorCount; i++)
        {
            log.ReadSector(entry.PositionBytes + LogEntry.HeaderBytes + ((long)i * LogEntry.DescriptorBytes), descriptor);
            bool isZero = BinaryPrimitives.ReadUInt32LittleEndian(descriptor) == LogEntry.ZeroDescriptorSignature;
            long offsetBytes = BinaryPrimitives.ReadInt64LittleEndian(descriptor[16..]);
            long lengthBytes = isZero ? BinaryPrimitives.ReadInt64LittleEndian(descriptor[LeadingBytes..]) : VhdxFormat.PageBytes;
            CheckTarget(log, entry, offsetBytes, lengthBytes);
            if (isZero)
            {
                AddZeros(entry, offsetBytes, lengthBytes);
                continue;
            }

            _pages[offsetBytes / VhdxFormat.PageBytes] = new LoggedPage(
                log.ToFile(dataBytes),
                BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]),
                BinaryPrimitives.ReadUInt32LittleEndian(descriptor[4..]));
            dataBytes += VhdxFormat.PageBytes;
        }
    }

    private void AddZeros(LogEntry entry, long offsetBytes, long lengthBytes)
    {
        if (_pages.Count + (lengthBytes / VhdxFormat.PageBytes) > VhdxLimits.MaxReplayedPages)
        {
            throw FormatFault.Vhdx.Unsupported(
                Path,
                $"its log entry {entry.SequenceNumber} zeroes {lengthBytes} bytes at {offsetBytes}; Fleece replays logs that change " +
                $"up to {VhdxLimits.MaxReplayedPages} pages of 4 KiB");
        }

        for (long atBytes = offsetBytes; atBytes < offsetBytes + lengthBytes; atBytes += VhdxFormat.PageBytes)
        {
            _pages[atBytes / VhdxFormat.PageBytes] = default;
        }
    }

    private void CheckTarget(LogRegion log, LogEntry entry, long offsetBytes, long lengthBytes)
    {
        bool isPlace = offsetBytes >= VhdxFormat.RegionTableOffsetBytes && offsetBytes <= _lengthBytes
            && lengthBytes >= 0 && lengthBytes <= _lengthBytes - offsetBytes
            && (offsetBytes | lengthBytes) % VhdxFormat.PageBytes == 0;
        if (!isPlace || new BlockRange(offsetBytes, lengthBytes).Overlaps(new BlockRange(log.OffsetBytes, log.LengthBytes)))
        {
            throw FormatFault.Vhdx.Corrupt(
                Path,
                $"a descriptor of the log entry {entry.SequenceNumber} has file_offset {offsetBytes} for {lengthBytes} bytes, where no " +
                $"replay may write: pages behind the headers and outside the log, up to last_file_offset {_lengthBytes}",
                log.ToFile(entry.PositionBytes));
        }
    }

    private BlockException ReadOnly() =>
        new(BlockErrors.ReadOnly, $"'{Path}' is open read-only, with its log replayed in memory.", Path);
}
