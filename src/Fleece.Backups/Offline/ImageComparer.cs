// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Offline;

/// <summary>Compares two disks, a piece at a time, until the first range that differs has ended.</summary>
/// <remarks>
/// <para>Where both say that they read as zeros nothing is read; behind its end a disk counts as zeros.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="Result"/>.
/// Ownership. It owns both images.</para>
/// </remarks>
internal sealed class ImageComparer(ImageSource first, ImageSource second) : IAsyncDisposable
{
    private const int PieceBytes = 1024 * 1024;
    private const int SectorBytes = 512;

    private readonly byte[] _firstPiece = new byte[PieceBytes];
    private readonly byte[] _secondPiece = new byte[PieceBytes];
    private long? _differenceStartBytes;
    private long _differenceEndBytes;

    /// <summary>The size of the longer disk in bytes.</summary>
    public long SizeBytes { get; } = Math.Max(first.SizeBytes, second.SizeBytes);

    /// <summary>Bytes that have been compared so far.</summary>
    public long ComparedBytes { get; private set; }

    /// <summary>What was found.</summary>
    public ImageComparison Result => new(
        first.Id,
        second.Id,
        _differenceStartBytes is null,
        first.SizeBytes,
        second.SizeBytes,
        _differenceStartBytes,
        _differenceEndBytes - _differenceStartBytes);

    /// <summary>Compares the next piece; false when there is nothing left to learn.</summary>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        long leftBytes = SizeBytes - ComparedBytes;
        if (leftBytes == 0)
        {
            return false;
        }

        long zeroBytes = await CountZeroesAsync(first, ComparedBytes, leftBytes, cancellationToken).ConfigureAwait(false);
        zeroBytes = zeroBytes == 0
            ? 0
            : await CountZeroesAsync(second, ComparedBytes, zeroBytes, cancellationToken).ConfigureAwait(false);
        if (zeroBytes != 0)
        {
            ComparedBytes += zeroBytes;
            return _differenceStartBytes is null;
        }

        int lengthBytes = (int)Math.Min(leftBytes, PieceBytes);
        Memory<byte> one = _firstPiece.AsMemory(0, lengthBytes);
        Memory<byte> other = _secondPiece.AsMemory(0, lengthBytes);
        await ReadAsync(first, ComparedBytes, one, cancellationToken).ConfigureAwait(false);
        await ReadAsync(second, ComparedBytes, other, cancellationToken).ConfigureAwait(false);
        bool hasEnded = Compare(one.Span, other.Span);
        ComparedBytes += lengthBytes;
        return !hasEnded;
    }

    /// <summary>Closes both images. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await first.DisposeAsync().ConfigureAwait(false);
        await second.DisposeAsync().ConfigureAwait(false);
    }

    // The first equal sector behind a difference ends it.
    private bool Compare(ReadOnlySpan<byte> one, ReadOnlySpan<byte> other)
    {
        int at = 0;
        if (_differenceStartBytes is null)
        {
            at = one.CommonPrefixLength(other);
            if (at == one.Length)
            {
                return false;
            }

            _differenceStartBytes = ComparedBytes + at;
            at -= at % SectorBytes;
        }

        while (at < one.Length)
        {
            int sectorBytes = Math.Min(SectorBytes, one.Length - at);
            if (one.Slice(at, sectorBytes).SequenceEqual(other.Slice(at, sectorBytes)))
            {
                return true;
            }

            at += sectorBytes;
            _differenceEndBytes = ComparedBytes + at;
        }

        return false;
    }

    private static async ValueTask<long> CountZeroesAsync(
        ImageSource disk, long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        if (offsetBytes >= disk.SizeBytes)
        {
            return lengthBytes;
        }

        BlockStatusRun run = await disk.Snapshot
            .GetStatusAsync(offsetBytes, Math.Min(lengthBytes, disk.SizeBytes - offsetBytes), cancellationToken).ConfigureAwait(false);
        return run.ReadsAsZero ? run.LengthBytes : 0;
    }

    private static async ValueTask ReadAsync(
        ImageSource disk, long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        int insideBytes = (int)Math.Clamp(disk.SizeBytes - offsetBytes, 0, buffer.Length);
        if (insideBytes != 0)
        {
            await disk.Snapshot.ReadAsync(offsetBytes, buffer[..insideBytes], cancellationToken).ConfigureAwait(false);
        }

        buffer.Span[insideBytes..].Clear();
    }
}
