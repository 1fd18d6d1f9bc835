// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>A disk of QEMU before 9.1.1: it notes when two requests overlap, where QEMU ends. Each request takes a while.</summary>
internal sealed class OneAtATimeNode(byte[] content) : IBlockNode
{
    private readonly Lock _gate = new();
    private readonly List<BlockRange> _running = [];

    public BlockGeometry Geometry => new(content.Length);

    public bool CanReadAhead => false;

    /// <summary>Pairs of requests that overlapped.</summary>
    public int OverlapCount { get; private set; }

    /// <summary>Requests that ran.</summary>
    public int RequestCount { get; private set; }

    /// <summary>The most that ran at a time.</summary>
    public int MostAtOnce { get; private set; }

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        await RunAsync(new BlockRange(offsetBytes, buffer.Length));
        content.AsMemory((int)offsetBytes, buffer.Length).CopyTo(buffer);
    }

    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await RunAsync(new BlockRange(offsetBytes, lengthBytes));
        return new BlockStatusRun(BlockStatus.Zero, lengthBytes);
    }

    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        await RunAsync(new BlockRange(offsetBytes, lengthBytes));

    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    public ValueTask DisposeAsync() => default;

    private async Task RunAsync(BlockRange range)
    {
        lock (_gate)
        {
            RequestCount++;
            OverlapCount += _running.Count(other => !other.Intersect(range).IsEmpty);
            _running.Add(range);
            MostAtOnce = Math.Max(MostAtOnce, _running.Count);
        }

        await Task.Delay(1);
        lock (_gate)
        {
            _running.Remove(range);
        }
    }
}
