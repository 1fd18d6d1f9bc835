// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Images.Container;

/// <summary>A container in a file of this machine. It owns the file.</summary>
/// <param name="file">The file.</param>
internal sealed class LocalContainer(LocalFile file) : IContainerFile
{
    /// <summary>The file itself, for formats whose disk it is.</summary>
    public LocalFile File => file;

    public string Path => file.Path;

    public bool IsReadOnly => file.IsReadOnly;

    public long MaximumLengthBytes => long.MaxValue;

    public long GetLength() => file.LengthBytes;

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int readBytes = file.ReadUpTo(offsetBytes, buffer);
        buffer[readBytes..].Clear();
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(new BlockRange(offsetBytes, lengthBytes));

    public void Write(long offsetBytes, ReadOnlySpan<byte> data) => file.Write(offsetBytes, data);

    public void Zero(long offsetBytes, long lengthBytes) => file.WriteZeroes(new BlockRange(offsetBytes, lengthBytes));

    public BlockStatusRun FindExtent(BlockRange range) => file.FindExtent(range);

    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);

    public void Flush() => file.Flush();

    public void Dispose() => file.Dispose();
}
