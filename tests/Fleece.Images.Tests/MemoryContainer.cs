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

    public MemoryContainer(byte[] content, bool isReadOnly = false)
    {
        _content = content;
        _durable = (byte[])content.Clone();
        IsReadOnly = isReadOnly;
    }

    private readonly record struct Change(long OffsetBytes, byte[]? Data, long LengthBytes, bool IsLength);

    public string Path => "memory.qcow2";

    public bool IsReadOnly { get; }

    /// <summary>Writes, zeroes, resizes and flushes so far.</summary>
    public int ChangeCount { get; private set; }

    /// <summary>Writes so far, of any kind but flushes.</summary>
    public int WriteCount { get; private set; }

    /// <summary>From this change on every change fails; none by default.</summary>
    public int FailFrom { get; set; } = int.MaxValue;

    /// <summary>Called before each flush takes effect, with what a crash would find.</summary>
    public Action? BeforeFlush { get; set; }

    public byte[] Content => _content;

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
        lock (_lock)
        {
            Apply(new Change(offsetBytes, data.ToArray(), data.Length, false), "write");
        }
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        lock (_lock)
        {
            long inside = Math.Min(lengthBytes, _content.Length - offsetBytes);
            if (inside > 0)
            {
                Apply(new Change(offsetBytes, new byte[inside], inside, false), "zero");
            }
        }
    }

    public BlockStatusRun FindExtent(BlockRange range) => new(BlockStatus.Data, range.LengthBytes);

    public void SetLength(long lengthBytes)
    {
        lock (_lock)
        {
            Apply(new Change(0, null, lengthBytes, true), "resize");
        }
    }

    public void Flush()
    {
        BeforeFlush?.Invoke();
        lock (_lock)
        {
            Count("flush");
            _durable = (byte[])_content.Clone();
            _unflushed.Clear();
        }
    }

    public void Dispose()
    {
    }

    /// <summary>What is on disk after a crash now: the flushed state, and each later change with the given
    /// chance.</summary>
    /// <remarks>Length changes go through: file systems order them.</remarks>
    public byte[] Crash(Func<bool> isKept)
    {
        lock (_lock)
        {
            byte[] image = (byte[])_durable.Clone();
            foreach (Change change in _unflushed)
            {
                if (change.IsLength || isKept())
                {
                    image = Put(image, change);
                }
            }

            return image;
        }
    }

    private void Apply(Change change, string operation)
    {
        Count(operation);
        WriteCount++;
        _content = Put(_content, change);
        _unflushed.Add(change);
    }

    private void Count(string operation)
    {
        if (ChangeCount++ >= FailFrom)
        {
            throw new BlockException(BlockErrors.IoFailed, $"Made to fail: {operation}.", Path);
        }
    }

    private static byte[] Put(byte[] image, Change change)
    {
        long endBytes = change.IsLength ? change.LengthBytes : change.OffsetBytes + change.LengthBytes;
        if (change.IsLength || endBytes > image.Length)
        {
            Array.Resize(ref image, (int)endBytes);
        }

        change.Data?.CopyTo(image, (int)change.OffsetBytes);
        return image;
    }
}
