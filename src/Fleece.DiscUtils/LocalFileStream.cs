// SPDX-License-Identifier: MIT
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>A local file as DiscUtils reads it: without a buffer, because a large one makes random reads many times slower.</summary>
/// <remarks>Threading. One call at a time. Ownership. Its maker owns the file.</remarks>
internal sealed class LocalFileStream(LocalFile file) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => file.LengthBytes;

    public override long Position { get; set; }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        int readBytes = file.ReadUpTo(Position, buffer);
        Position += readBytes;
        return readBytes;
    }

    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => Position + offset,
        _ => Length + offset,
    };

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
