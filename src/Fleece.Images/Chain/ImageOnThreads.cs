// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Chain;

/// <summary>An image on a block node, such as an NBD export, as a block node itself.</summary>
/// <remarks>
/// <para>Each request runs on a thread of the image's own, which waits for the node beneath; the caller's task completes asynchronously
/// (<see cref="RequestThreads"/> says why).</para>
/// <para>Room. The image uses discarded places again only when its metadata says so durably. A file grows meanwhile, and a device may
/// have no more room, so a change that finds none makes the discards durable and tries again.</para>
/// <para>Cancelling. A request that waits for a thread ends at once; one that runs ends when the node has answered.</para>
/// <para>Threading. As <see cref="IBlockNode"/>; the members of <see cref="Bitmaps"/> within <see cref="RunAsync{T}"/> only.</para>
/// <para>Ownership. It owns the image.</para>
/// </remarks>
/// <param name="image">The image.</param>
/// <param name="threads">Its threads, on which it was opened.</param>
internal sealed class ImageOnThreads(ImageNode image, RequestThreads threads) : IBlockNode, IBitmapHolder, IAbandonable
{
    // A request that runs beside it can hold back what the first flush has freed.
    private const int MostAttempts = 3;

    public BlockGeometry Geometry { get; } = image.Geometry;

    /// <remarks>A hint that waits for a thread comes too late.</remarks>
    public bool CanReadAhead => false;

    public IBitmapImage? Bitmaps => image.Bitmaps;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        threads.RunAsync(() => image.ReadAsync(offsetBytes, buffer, cancellationToken), cancellationToken);

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        ChangeAsync(() => image.WriteAsync(offsetBytes, data, flags, cancellationToken), cancellationToken);

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        ChangeAsync(() => image.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken), cancellationToken);

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        threads.RunAsync(() => image.DiscardAsync(offsetBytes, lengthBytes, cancellationToken), cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) =>
        threads.RunAsync(() => image.FlushAsync(cancellationToken), cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        threads.RunAsync(
            () => RequestThreads.Wait(image.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken)), cancellationToken);

    /// <summary>As <see cref="AllocationDepth.FindAsync"/>.</summary>
    public ValueTask<DepthRun> FindDepthAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        threads.RunAsync(() => image.GetDepth(offsetBytes, lengthBytes), cancellationToken);

    /// <summary>Does work with the image, its bitmaps above all, on one of its threads.</summary>
    public ValueTask<T> RunAsync<T>(Func<T> work) => threads.RunAsync(work);

    public void Abandon() => image.Abandon();

    public ValueTask DisposeAsync() => threads.RunAsync(image.DisposeAsync);

    private ValueTask ChangeAsync(Func<ValueTask> change, CancellationToken cancellationToken) => threads.RunAsync(
        () =>
        {
            for (int attempt = 1; attempt < MostAttempts; attempt++)
            {
                try
                {
                    RequestThreads.Wait(change());
                    return default;
                }
                catch (BlockException failure) when (failure.Kind == BlockErrors.NoSpace)
                {
                    RequestThreads.Wait(image.FlushAsync(cancellationToken));
                }
            }

            return change();
        },
        cancellationToken);
}
