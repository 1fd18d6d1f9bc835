// SPDX-License-Identifier: MIT
using System.IO.Compression;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>Raw deflate (RFC 1951), without the header that zlib files have.</summary>
/// <remarks>QEMU writes with a window of 4 KiB. It reads streams of any window, because it has the whole cluster in front of
/// it, and so does everybody who inflates a cluster in one piece.</remarks>
internal sealed unsafe class DeflateCodec : IClusterCodec
{
    public ImageCompression Compression => ImageCompression.Zlib;

    public bool TryCompress(ReadOnlySpan<byte> cluster, Memory<byte> target, int mostBytes, out int lengthBytes)
    {
        using BoundedStream bounded = new(target[..mostBytes]);
        using (DeflateStream deflate = new(bounded, CompressionLevel.Optimal, leaveOpen: true))
        {
            deflate.Write(cluster);
        }

        lengthBytes = bounded.IsOverrun ? 0 : (int)bounded.Length;
        return !bounded.IsOverrun;
    }

    public bool TryDecompress(ReadOnlySpan<byte> source, int sourceBytes, Span<byte> cluster)
    {
        if (sourceBytes == 0)
        {
            return false;
        }

        fixed (byte* first = source)
        {
            using UnmanagedMemoryStream stream = new(first, sourceBytes);
            using DeflateStream inflate = new(stream, CompressionMode.Decompress);
            try
            {
                return inflate.ReadAtLeast(cluster, cluster.Length, throwOnEndOfStream: false) == cluster.Length;
            }
            catch (InvalidDataException)
            {
                return false;
            }
        }
    }

    /// <summary>Keeps what fits into the target and drops the rest: incompressible data is ordinary and no exception.</summary>
    private sealed class BoundedStream(Memory<byte> target) : Stream
    {
        private int _length;

        public bool IsOverrun { get; private set; }

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position
        {
            get => _length;
            set => throw new NotSupportedException();
        }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            IsOverrun |= buffer.Length > target.Length - _length;
            if (!IsOverrun)
            {
                buffer.CopyTo(target.Span[_length..]);
                _length += buffer.Length;
            }
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
