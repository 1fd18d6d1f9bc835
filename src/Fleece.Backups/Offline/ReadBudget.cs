// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Offline;

/// <summary>An untrusted image whose reads end after so many bytes: a small file can show an endless disk.</summary>
/// <remarks>
/// <para>Ranges that the image says are zeros are not read, and so cost nothing here.</para>
/// <para>Threading. As <see cref="IBlockNode"/>. Errors: <see cref="ImageErrors.LimitExceeded"/>, and those of the image. Ownership. It
/// owns the image.</para>
/// </remarks>
/// <param name="image">The image, open read-only.</param>
/// <param name="path">Its path, for messages.</param>
/// <param name="budgetBytes">Bytes that may be read in all.</param>
/// <param name="reason">The reason for that many, for messages; a part of a sentence.</param>
internal sealed class ReadBudget(IBlockNode image, string path, long budgetBytes, string reason) : IBlockNode
{
    private long _readBytes;

    public BlockGeometry Geometry => image.Geometry;

    // The budget would not count bytes that are read ahead.
    public bool CanReadAhead => false;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        Interlocked.Add(ref _readBytes, buffer.Length) <= budgetBytes
            ? image.ReadAsync(offsetBytes, buffer, cancellationToken)
            : throw UntrustedLimits.Exceeded(path, $"its disk shows more than {budgetBytes} bytes of data, {reason}");

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        image.WriteAsync(offsetBytes, data, flags, cancellationToken);

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        image.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        image.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) => image.FlushAsync(cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        image.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask DisposeAsync() => image.DisposeAsync();
}
