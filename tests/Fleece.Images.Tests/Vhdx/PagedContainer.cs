// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Writes page by page, so that a crash may keep any part of a long write: log entries can be torn.</summary>
internal sealed class PagedContainer(MemoryContainer file) : IContainerFile
{
    private const int PageBytes = 4096;

    public string Path => file.Path;

    public bool IsReadOnly => file.IsReadOnly;

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer) => file.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            int partBytes = (int)Math.Min(data.Length, PageBytes - (offsetBytes % PageBytes));
            file.Write(offsetBytes, data[..partBytes]);
            offsetBytes += partBytes;
            data = data[partBytes..];
        }
    }

    public void Zero(long offsetBytes, long lengthBytes) => file.Zero(offsetBytes, lengthBytes);

    public BlockStatusRun FindExtent(BlockRange range) => file.FindExtent(range);

    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);

    public void Flush() => file.Flush();

    public void Dispose() => file.Dispose();
}
