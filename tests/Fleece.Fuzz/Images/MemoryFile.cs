// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Fuzz.Images;

/// <summary>An image file in memory that counts what is done to it and has little room.</summary>
/// <remarks>The content it begins with is shared and never changed: what is written lies in pages of its own.</remarks>
internal sealed class MemoryFile(string path, byte[] content, bool isReadOnly) : IContainerFile
{
    private const int MaximumBytes = 96 * 1024 * 1024;

    // Far more than any input of a few KiB deserves; a loop that reads for ever ends here.
    private const int MaximumCalls = 300_000;

    private const int PageBytes = 64 * 1024;

    private readonly Dictionary<int, byte[]> _pages = [];
    private int _lengthBytes = content.Length;
    private int _calls;

    public string Path => path;

    public bool IsReadOnly => isReadOnly;

    /// <summary>True once anything was written, zeroed or made longer or shorter.</summary>
    public bool IsChanged { get; private set; }

    public byte[] ToArray()
    {
        byte[] bytes = new byte[_lengthBytes];
        CopyTo(0, bytes);
        return bytes;
    }

    public long MaximumLengthBytes => long.MaxValue;

    public long GetLength() => _lengthBytes;

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        Count();
        CheckRange(offsetBytes, buffer.Length);
        int insideBytes = (int)Math.Clamp(_lengthBytes - offsetBytes, 0, buffer.Length);
        if (insideBytes != 0)
        {
            CopyTo((int)offsetBytes, buffer[..insideBytes]);
        }

        buffer[insideBytes..].Clear();
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => CheckRange(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        CheckChange();
        CheckRange(offsetBytes, data.Length);
        Grow(offsetBytes + data.Length);
        for (int at = (int)offsetBytes; !data.IsEmpty;)
        {
            int partBytes = Math.Min(data.Length, PageBytes - (at % PageBytes));
            data[..partBytes].CopyTo(Own(at / PageBytes).AsSpan(at % PageBytes));
            data = data[partBytes..];
            at += partBytes;
        }
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        CheckChange();
        CheckRange(offsetBytes, lengthBytes);
        if (offsetBytes < _lengthBytes)
        {
            Clear((int)offsetBytes, (int)Math.Min(lengthBytes, _lengthBytes - offsetBytes));
        }
    }

    public BlockStatusRun FindExtent(BlockRange range) => new(BlockStatus.Data, range.LengthBytes);

    public void SetLength(long lengthBytes)
    {
        CheckChange();
        CheckRange(0, lengthBytes);
        if (lengthBytes < _lengthBytes)
        {
            Clear((int)lengthBytes, _lengthBytes - (int)lengthBytes);
            _lengthBytes = (int)lengthBytes;
        }

        Grow(lengthBytes);
    }

    public void Flush() => Count();

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

        IsChanged = true;
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
            throw new BlockException(BlockErrors.NoSpace, $"The memory file ends at {MaximumBytes} bytes.", path);
        }

        _lengthBytes = (int)Math.Max(_lengthBytes, lengthBytes);
    }

    private void CopyTo(int at, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            Span<byte> part = buffer[..Math.Min(buffer.Length, PageBytes - (at % PageBytes))];
            if (_pages.TryGetValue(at / PageBytes, out byte[]? page))
            {
                page.AsSpan(at % PageBytes, part.Length).CopyTo(part);
            }
            else
            {
                int sharedBytes = Math.Clamp(content.Length - at, 0, part.Length);
                content.AsSpan(Math.Min(at, content.Length), sharedBytes).CopyTo(part);
                part[sharedBytes..].Clear();
            }

            buffer = buffer[part.Length..];
            at += part.Length;
        }
    }

    // What reads as zeros already needs no page.
    private void Clear(int at, int lengthBytes)
    {
        for (int endBytes = at + lengthBytes; at < endBytes;)
        {
            int partBytes = Math.Min(endBytes - at, PageBytes - (at % PageBytes));
            if (at < content.Length || _pages.ContainsKey(at / PageBytes))
            {
                Own(at / PageBytes).AsSpan(at % PageBytes, partBytes).Clear();
            }

            at += partBytes;
        }
    }

    private byte[] Own(int index)
    {
        if (!_pages.TryGetValue(index, out byte[]? page))
        {
            page = new byte[PageBytes];
            CopyTo(index * PageBytes, page);
            _pages.Add(index, page);
        }

        return page;
    }
}
