// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Journal;

/// <summary>An image's file as it will be when its journal is replayed; it is not changed.</summary>
/// <remarks>Ownership. It owns the file.</remarks>
internal sealed class NotedFile(IContainerFile file, NotedBytes notes) : IContainerFile
{
    public string Path => file.Path;

    public bool IsReadOnly => true;

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        file.Read(offsetBytes, buffer);
        notes.Patch(offsetBytes, buffer);
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data) => throw ReadOnly();

    public void Zero(long offsetBytes, long lengthBytes) => throw ReadOnly();

    public BlockStatusRun FindExtent(BlockRange range) => file.FindExtent(range);

    public void SetLength(long lengthBytes) => throw ReadOnly();

    public void Flush()
    {
    }

    public void Dispose() => file.Dispose();

    private BlockException ReadOnly() =>
        new(BlockErrors.ReadOnly, $"'{Path}' is open read-only, with its journal replayed in memory.", Path);
}
