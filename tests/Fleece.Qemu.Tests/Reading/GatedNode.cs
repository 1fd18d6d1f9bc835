// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>A disk in memory that holds back the first read and the first query of a range until the test has changed it.</summary>
/// <param name="content">The disk, which is changed.</param>
/// <param name="gated">The range. A request that begins in it waits.</param>
internal sealed class GatedNode(byte[] content, BlockRange gated) : IBlockNode
{
    private readonly TaskCompletionSource _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public BlockGeometry Geometry => new(content.Length);

    public bool CanReadAhead => false;

    /// <summary>A request waits.</summary>
    public Task Arrived => _arrived.Task;

    /// <summary>Answers those that wait, and all others from now on at once.</summary>
    public void Open() => _opened.SetResult();

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        await PassAsync(offsetBytes);
        content.AsMemory((int)offsetBytes, buffer.Length).CopyTo(buffer);
    }

    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await PassAsync(offsetBytes);
        bool isZero = !content.AsSpan((int)offsetBytes, (int)lengthBytes).ContainsAnyExcept((byte)0);
        return new BlockStatusRun(isZero ? BlockStatus.Zero : BlockStatus.Data, lengthBytes);
    }

    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        data.CopyTo(content.AsMemory((int)offsetBytes));
        return default;
    }

    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        content.AsSpan((int)offsetBytes, (int)lengthBytes).Clear();
        return default;
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) => default;

    public ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    public ValueTask DisposeAsync() => default;

    private async Task PassAsync(long offsetBytes)
    {
        if (offsetBytes >= gated.OffsetBytes && offsetBytes < gated.EndBytes)
        {
            _ = _arrived.TrySetResult();
            await _opened.Task;
        }
    }
}
