// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>One layer that stores or filters the bytes of a disk: a file, an image format, a filter.</summary>
/// <remarks>
/// <para>Contract. Every operation is positional, may run concurrently with any other, and completes exactly once.
/// A local file completes synchronously on the calling thread; a node that must wait returns an incomplete task.
/// A completed write, zero or discard is visible to every read that starts afterwards; what a read sees of a
/// concurrent overlapping write is unspecified byte by byte. Data is durable only after <see cref="FlushAsync"/>
/// or a write with <see cref="WriteFlags.ForceUnitAccess"/>.</para>
/// <para>Threading. All members may be called from any thread; <see cref="IAsyncDisposable.DisposeAsync"/> only when
/// no operation is in flight, which <see cref="BlockDevice"/> guarantees.</para>
/// <para>Errors. Failures are <see cref="BlockException"/>; a cancelled token is
/// <see cref="OperationCanceledException"/>. A request outside the node's own size fails with
/// <see cref="BlockErrors.OutOfRange"/> and changes nothing. After a failed write the range holds old, new or mixed
/// bytes, and nothing outside it has changed.</para>
/// <para>Ownership. The caller keeps its buffers and must not change them until the operation completes. A node owns the
/// nodes it was built over unless its documentation says otherwise.</para>
/// <para>The interface has no default members and there is no forwarding base class: a new operation must break every
/// filter at compile time rather than slip through one (rule R2).</para>
/// </remarks>
public interface IBlockNode : IAsyncDisposable
{
    /// <summary>Size and alignment, fixed for the life of the node.</summary>
    BlockGeometry Geometry { get; }

    /// <summary>False when <see cref="ReadAhead"/> does nothing, so that a read waits for all of its I/O.</summary>
    bool CanReadAhead { get; }

    /// <summary>Fills <paramref name="buffer"/> from <paramref name="offsetBytes"/>. There are no short reads.</summary>
    ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Begins to bring a range into the system's cache and does not wait for it. The range lies within the node.</summary>
    /// <remarks>A hint, on which speed alone depends: a node that does nothing, or does it for a part, answers the same bytes. A filter
    /// passes it on to where its reads go.</remarks>
    /// <exception cref="BlockException">Those of a read, as far as looking a place up meets them. <see cref="BlockDevice"/> drops
    /// them: the read itself reports what is wrong.</exception>
    void ReadAhead(long offsetBytes, long lengthBytes);

    /// <summary>Stores all of <paramref name="data"/> at <paramref name="offsetBytes"/>.</summary>
    ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken);

    /// <summary>Makes the range read as zeros; storage is released where the node can.</summary>
    ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken);

    /// <summary>
    /// Says that the content is no longer needed. Storage is released where the node can; whole blocks of its
    /// allocation unit read as zeros afterwards, the rest keeps its content.
    /// </summary>
    ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken);

    /// <summary>Makes every write that completed before this call durable.</summary>
    ValueTask FlushAsync(CancellationToken cancellationToken);

    /// <summary>
    /// The status of the run that starts at <paramref name="offsetBytes"/>: between 1 and
    /// <paramref name="lengthBytes"/> bytes, all with one status. Callers loop to walk a range.
    /// </summary>
    ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken);
}
