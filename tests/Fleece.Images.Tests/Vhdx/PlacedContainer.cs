// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>A file in memory that says it lies elsewhere, so that its parent is found.</summary>
internal sealed class PlacedContainer(IContainerFile file, string path) : IContainerFile
{
    public string Path => path;

    public bool IsReadOnly => file.IsReadOnly;

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer) => file.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data) => file.Write(offsetBytes, data);

    public void Zero(long offsetBytes, long lengthBytes) => file.Zero(offsetBytes, lengthBytes);

    public BlockStatusRun FindExtent(BlockRange range) => file.FindExtent(range);

    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);

    public void Flush() => file.Flush();

    public void Dispose() => file.Dispose();
}
