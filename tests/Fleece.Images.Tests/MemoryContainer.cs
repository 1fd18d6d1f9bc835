// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Tests;

/// <summary>
/// An image file in memory that can fail at the n-th change and can say what a crash would leave: what was flushed, and
/// of what was not any part.
/// </summary>
internal sealed class MemoryContainer : IContainerFile
{
    private readonly Lock _lock = new();
    private readonly List<Change> _unflushed = [];
    private byte[] _content;
    private byte[] _durable;

    public MemoryContainer(byte[] content, bool isReadOnly = false, string path = "memory.qcow2")
    {
        _content = content;
        _durable = isReadOnly ? content : (byte[])content.Clone();
        IsReadOnly = isReadOnly;
        Path = path;
    }

    private readonly record struct Change(long OffsetBytes, byte[]? Data, long LengthBytes, bool IsLength);

    public string Path { get; }

    public bool IsReadOnly { get; }

    /// <summary>Writes, zeroes, resizes and flushes so far.</summary>
    public int ChangeCount { get; private set; }

    /// <summary>Writes so far, of any kind but flushes.</summary>
    public int WriteCount { get; private set; }

    /// <summary>From this change on every change fails; none by default.</summary>
    public int FailFrom { get; set; } = int.MaxValue;

    /// <summary>Called before each flush takes effect, with what a crash would find.</summary>
    public Action? BeforeFlush { get; set; }

    /// <summary>Called before and after each change, flushes too, with nothing of this locked.</summary>
    public Action? AroundChange { get; set; }

    public byte[] Content => _content;

    /// <summary>Changes that a crash now may lose.</summary>
    public int UnflushedCount => _unflushed.Count;

    /// <summary>Ranges that were read.</summary>
    public List<BlockRange> Reads { get; } = [];

    /// <summary>Ranges that were read ahead.</summary>
    public List<BlockRange> ReadAheads { get; } = [];

    public long MaximumLengthBytes => long.MaxValue;

    public long GetLength() => _content.Length;

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        lock (_lock)
        {
            Reads.Add(new BlockRange(offsetBytes, buffer.Length));
            buffer.Clear();
            if (offsetBytes < _content.Length)
            {
                int count = (int)Math.Min(buffer.Length, _content.Length - offsetBytes);
                _content.AsSpan((int)offsetBytes, count).CopyTo(buffer);
            }
        }
    }

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        lock (_lock)
        {
            ReadAheads.Add(new BlockRange(offsetBytes, lengthBytes));
        }
    }

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        AroundChange?.Invoke();
        lock (_lock)
        {
            Apply(new Change(offsetBytes, data.ToArray(), data.Length, false), "write");
        }

        AroundChange?.Invoke();
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        AroundChange?.Invoke();
        lock (_lock)
        {
            long inside = Math.Min(lengthBytes, _content.Length - offsetBytes);
            if (inside > 0)
            {
                Apply(new Change(offsetBytes, new byte[inside], inside, false), "zero");
            }
        }

        AroundChange?.Invoke();
    }

    public BlockStatusRun FindExtent(BlockRange range) => new(BlockStatus.Data, range.LengthBytes);

    public void SetLength(long lengthBytes)
    {
        AroundChange?.Invoke();
        lock (_lock)
        {
            Apply(new Change(0, null, lengthBytes, true), "resize");
        }

        AroundChange?.Invoke();
    }

    public void Flush()
    {
        AroundChange?.Invoke();
        BeforeFlush?.Invoke();
        lock (_lock)
        {
            Count("flush");
            foreach (Change change in _unflushed)
            {
                _durable = Put(_durable, change, 0, change.LengthBytes);
            }

            _unflushed.Clear();
        }

        AroundChange?.Invoke();
    }

    /// <summary>The same file, of which a crash may lose the same.</summary>
    public MemoryContainer Copy()
    {
        lock (_lock)
        {
            MemoryContainer copy = new((byte[])_content.Clone(), path: Path) { _durable = (byte[])_durable.Clone() };
            copy._unflushed.AddRange(_unflushed);
            return copy;
        }
    }

    public void Dispose()
    {
    }

    /// <summary>What is on disk after a crash now: the flushed state, and each piece of a later change, in their order, for which the
    /// predicate is true.</summary>
    /// <param name="isKept">Asked once for each piece.</param>
    /// <param name="pieceBytes">A change is torn at multiples of this in the file; changes stay whole by default.</param>
    /// <remarks>Length changes go through: file systems order them.</remarks>
    public byte[] Crash(Func<bool> isKept, int pieceBytes = int.MaxValue)
    {
        lock (_lock)
        {
            byte[] image = (byte[])_durable.Clone();
            foreach (Change change in _unflushed)
            {
                if (change.IsLength)
                {
                    image = Put(image, change, 0, change.LengthBytes);
                    continue;
                }

                for (long atBytes = 0; atBytes < change.LengthBytes;)
                {
                    long roomBytes = pieceBytes - ((change.OffsetBytes + atBytes) % pieceBytes);
                    long endBytes = Math.Min(change.LengthBytes, atBytes + roomBytes);
                    image = isKept() ? Put(image, change, atBytes, endBytes) : image;
                    atBytes = endBytes;
                }
            }

            return image;
        }
    }

    private void Apply(Change change, string operation)
    {
        Count(operation);
        WriteCount++;
        _content = Put(_content, change, 0, change.LengthBytes);
        _unflushed.Add(change);
    }

    private void Count(string operation)
    {
        if (ChangeCount++ >= FailFrom)
        {
            throw new BlockException(BlockErrors.IoFailed, $"Made to fail: {operation}.", Path);
        }
    }

    private static byte[] Put(byte[] image, Change change, long startBytes, long endBytes)
    {
        long imageEndBytes = change.OffsetBytes + endBytes;
        if (change.IsLength || imageEndBytes > image.Length)
        {
            Array.Resize(ref image, (int)imageEndBytes);
        }

        change.Data?.AsSpan((int)startBytes..(int)endBytes).CopyTo(image.AsSpan((int)(change.OffsetBytes + startBytes)));
        return image;
    }
}
