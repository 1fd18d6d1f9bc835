// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Fuzz.Images;

/// <summary>An image file in memory that counts what is done to it and has little room.</summary>
internal sealed class MemoryFile(string path, byte[] content, bool isReadOnly) : IContainerFile
{
    private const int MaximumBytes = 96 * 1024 * 1024;

    // Far more than any input of a few KiB deserves; a loop that reads for ever ends here.
    private const int MaximumCalls = 300_000;

    private byte[] _content = content;
    private int _lengthBytes = content.Length;
    private int _calls;

    public string Path => path;

    public bool IsReadOnly => isReadOnly;

    public byte[] ToArray() => _content[.._lengthBytes];

    public long GetLength() => _lengthBytes;

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        Count();
        CheckRange(offsetBytes, buffer.Length);
        int insideBytes = (int)Math.Clamp(_lengthBytes - offsetBytes, 0, buffer.Length);
        if (insideBytes != 0)
        {
            _content.AsSpan((int)offsetBytes, insideBytes).CopyTo(buffer);
        }

        buffer[insideBytes..].Clear();
    }

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        CheckChange();
        CheckRange(offsetBytes, data.Length);
        Grow(offsetBytes + data.Length);
        data.CopyTo(_content.AsSpan((int)offsetBytes));
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        CheckChange();
        CheckRange(offsetBytes, lengthBytes);
        int insideBytes = (int)Math.Clamp(_lengthBytes - offsetBytes, 0, lengthBytes);
        if (insideBytes != 0)
        {
            _content.AsSpan((int)offsetBytes, insideBytes).Clear();
        }
    }

    public void SetLength(long lengthBytes)
    {
        CheckChange();
        CheckRange(0, lengthBytes);
        if (lengthBytes < _lengthBytes)
        {
            _content.AsSpan((int)lengthBytes, _lengthBytes - (int)lengthBytes).Clear();
            _lengthBytes = (int)lengthBytes;
        }

        Grow(lengthBytes);
    }

    public void Flush() => CheckChange();

    public void Dispose()
    {
    }

    private static void CheckRange(long offsetBytes, long lengthBytes)
    {
        if (offsetBytes < 0 || lengthBytes < 0 || offsetBytes > long.MaxValue - lengthBytes)
        {
            throw new FuzzFindingException($"The file is asked for {lengthBytes} bytes at {offsetBytes}.");
        }
    }

    private void CheckChange()
    {
        Count();
        if (isReadOnly)
        {
            throw new FuzzFindingException("A file that is open read-only is changed.");
        }
    }

    private void Count()
    {
        if (++_calls > MaximumCalls)
        {
            throw new FuzzFindingException($"The file has been used {MaximumCalls} times.");
        }
    }

    private void Grow(long lengthBytes)
    {
        if (lengthBytes > MaximumBytes)
        {
            throw new BlockException(BlockErrorKind.NoSpace, $"The memory file ends at {MaximumBytes} bytes.", path);
        }

        if (lengthBytes > _content.Length)
        {
            Array.Resize(ref _content, (int)Math.Min(MaximumBytes, Math.Max(lengthBytes, _content.Length * 3L / 2)));
        }

        _lengthBytes = (int)Math.Max(_lengthBytes, lengthBytes);
    }
}
