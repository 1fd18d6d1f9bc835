// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Tests.Settled;

/// <summary>Counts the operations on an image's file, and allocates nothing for that. For one thread.</summary>
internal sealed class CountingContainer(IContainerFile file) : IContainerFile
{
    private int _reads;
    private int _readAheads;
    private int _writes;
    private int _zeros;
    private int _lengths;
    private int _flushes;

    public string Path => file.Path;

    public bool IsReadOnly => file.IsReadOnly;

    /// <summary>The operations since the last call, such as "1 x write, 2 x flush"; "nothing" for none. A question for the length is
    /// not counted.</summary>
    public string TakeCounts()
    {
        (int Count, string Name)[] counts =
        [
            (_reads, "read"),
            (_readAheads, "read-ahead"),
            (_writes, "write"),
            (_zeros, "zero"),
            (_lengths, "set length"),
            (_flushes, "flush"),
        ];
        (_reads, _readAheads, _writes, _zeros, _lengths, _flushes) = (0, 0, 0, 0, 0, 0);
        IEnumerable<string> made = counts.Where(item => item.Count != 0).Select(
            item => string.Create(CultureInfo.InvariantCulture, $"{item.Count} x {item.Name}"));
        return string.Join(", ", made.DefaultIfEmpty("nothing"));
    }

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        _reads++;
        file.Read(offsetBytes, buffer);
    }

    public BlockStatusRun FindExtent(BlockRange range) => file.FindExtent(range);

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        _readAheads++;
        file.ReadAhead(offsetBytes, lengthBytes);
    }

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        _writes++;
        file.Write(offsetBytes, data);
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        _zeros++;
        file.Zero(offsetBytes, lengthBytes);
    }

    public void SetLength(long lengthBytes)
    {
        _lengths++;
        file.SetLength(lengthBytes);
    }

    public void Flush()
    {
        _flushes++;
        file.Flush();
    }

    public void Dispose() => file.Dispose();
}
