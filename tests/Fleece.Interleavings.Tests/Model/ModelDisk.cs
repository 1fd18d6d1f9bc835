// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Interleavings;

/// <summary>
/// A small disk in memory that reaches a point before every granule it touches, so that requests can be torn.
/// </summary>
/// <remarks>
/// It runs synchronously and knows which granules it stores, which shows whether temp keeps what was consumed.
/// </remarks>
internal sealed class ModelDisk(string name, int granules, int granuleBytes) : IBlockNode
{
    /// <summary>What freed granules read as: no instant holds it, so a read of freed temp shows.</summary>
    public const byte Freed = 0xDD;

    public int GranuleBytes { get; } = granuleBytes;

    public byte[] Content { get; } = new byte[granules * granuleBytes];

    public bool[] Stored { get; } = new bool[granules];

    /// <summary>The next writes that fail, after having stored their first granule.</summary>
    public int FailingWrites { get; set; }

    /// <summary>When writes are answered at last; null for at once.</summary>
    public Func<bool>? AnswersWritesWhen { get; set; }

    /// <summary>Discarded granules read as garbage rather than zeros.</summary>
    public bool GarblesDiscarded { get; init; }

    /// <summary>Called before a granule is changed.</summary>
    public Action<int>? Changing { get; set; }

    /// <summary>Called when a read of granules begins (+1) and ends (-1).</summary>
    public Action<int, int, int>? Reading { get; set; }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; } = new(granules * granuleBytes);

    /// <inheritdoc/>
    public bool CanReadAhead => false;

    public void Fill(int granule, byte value)
    {
        Content.AsSpan(granule * GranuleBytes, GranuleBytes).Fill(value);
        Stored[granule] = true;
    }

    public byte At(int granule) => Content[granule * GranuleBytes];

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length);
        int first = (int)offsetBytes / GranuleBytes;
        int last = (int)(offsetBytes + buffer.Length - 1) / GranuleBytes;
        Reading?.Invoke(first, last, +1);
        foreach ((int at, int length) in Pieces((int)offsetBytes, buffer.Length))
        {
            Interleaving.Point($"{name} is read");
            Content.AsSpan(at, length).CopyTo(buffer.Span[(at - (int)offsetBytes)..]);
        }

        if (Interleaving.Current is { AnsweredWhen: { } answered } thread)
        {
            thread.Block($"{name} takes its time", answered);
        }

        Reading?.Invoke(first, last, -1);
        return default;
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Check(offsetBytes, data.Length);
        bool fails = FailingWrites > 0;
        FailingWrites -= fails ? 1 : 0;
        foreach ((int at, int length) in Pieces((int)offsetBytes, data.Length))
        {
            Interleaving.Point($"{name} is written");
            Changing?.Invoke(at / GranuleBytes);
            data.Span.Slice(at - (int)offsetBytes, length).CopyTo(Content.AsSpan(at));
            Stored[at / GranuleBytes] = true;
            if (fails)
            {
                throw new BlockException(BlockErrors.NoSpace, $"{name} is full.");
            }
        }

        if (AnswersWritesWhen is { } answered)
        {
            Interleaving.Current?.Block($"{name} takes its time", answered);
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        WriteAsync(offsetBytes, new byte[lengthBytes], flags, cancellationToken);

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes);
        foreach ((int at, int length) in Pieces((int)offsetBytes, (int)lengthBytes))
        {
            Interleaving.Point($"{name} is discarded");
            if (length == GranuleBytes)
            {
                Changing?.Invoke(at / GranuleBytes);
                Content.AsSpan(at, length).Fill(GarblesDiscarded ? Freed : (byte)0);
                Stored[at / GranuleBytes] = false;
            }
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes);
        if (lengthBytes == 0)
        {
            Interleaving.Violated($"{name} is asked for the status of nothing");
        }

        Interleaving.Point($"{name} is asked for status");
        bool stored = Stored[offsetBytes / GranuleBytes];
        long end = offsetBytes / GranuleBytes + 1;
        while (end * GranuleBytes < offsetBytes + lengthBytes && Stored[end] == stored)
        {
            end++;
        }

        long runBytes = Math.Min(end * GranuleBytes - offsetBytes, lengthBytes);
        return new(new BlockStatusRun(stored ? BlockStatus.Data : BlockStatus.Zero, runBytes));
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;

    private IEnumerable<(int At, int Length)> Pieces(int offset, int length)
    {
        for (int at = offset; at < offset + length;)
        {
            int end = Math.Min(offset + length, (at / GranuleBytes + 1) * GranuleBytes);
            yield return (at, end - at);
            at = end;
        }
    }

    private void Check(long offsetBytes, long lengthBytes) =>
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, name, "use");
}
