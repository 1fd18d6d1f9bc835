// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Content;

/// <summary>Reads what one backup holds itself, without its parents, and lets nothing through that is not what was backed up.</summary>
/// <remarks>Threading. One caller at a time. Ownership. It owns the image.</remarks>
internal sealed class ContentReader : IAsyncDisposable
{
    private readonly string _path;
    private readonly bool _isOverlay;
    private readonly IBlockNode _image;
    private readonly byte[] _buffer = new byte[ContentExtent.ExtentBytes];

    /// <summary>Reads from an image that is open. Disposing closes it.</summary>
    /// <param name="path">What messages call it.</param>
    /// <param name="isOverlay">True when the image is open without its parent.</param>
    /// <param name="image">The image.</param>
    public ContentReader(string path, bool isOverlay, IBlockNode image)
    {
        _path = path;
        _isOverlay = isOverlay;
        _image = image;
    }

    /// <summary>Opens a backup file, and no other file that it may name. While it is open no other program changes it.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/>, or why it can't be opened.</exception>
    public static async ValueTask<ContentReader> OpenAsync(
        string path, ImageFormat format, bool isOverlay, long sizeBytes, CancellationToken cancellationToken)
    {
        ImageOpenOptions options = new() { Format = format, IsReadOnly = true, IsLayerOnly = true, MustStayInFolder = true };
        (IBlockNode image, _) = await Image.OpenAsync(path, options, cancellationToken).ConfigureAwait(false);
        if (image.Geometry.LengthBytes >= sizeBytes)
        {
            return new ContentReader(path, isOverlay, image);
        }

        long foundBytes = image.Geometry.LengthBytes;
        await image.DisposeAsync().ConfigureAwait(false);
        throw new BlockException(
            BackupErrors.BackupChainBroken,
            $"'{path}' holds a disk of {foundBytes} bytes, and its manifest describes one of {sizeBytes}. Put the right file back.",
            path);
    }

    /// <summary>Reads an extent that holds data, and checks it. The bytes are good until the next call.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupDigestMismatch"/>, or why it can't be read.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync(ContentExtent extent, CancellationToken cancellationToken)
    {
        Memory<byte> data = _buffer.AsMemory(0, (int)extent.Range.LengthBytes);
        await CheckIsStoredAsync(extent.Range, cancellationToken).ConfigureAwait(false);
        await _image.ReadAsync(extent.Range.OffsetBytes, data, cancellationToken).ConfigureAwait(false);
        if (!CryptographicOperations.FixedTimeEquals(SHA256.HashData(data.Span), extent.Digest))
        {
            throw Mismatch(extent.Range, "is not what was backed up: its SHA-256 digest is another");
        }

        return data;
    }

    /// <summary>Checks an extent: data by its digest, zeros by looking at them.</summary>
    /// <inheritdoc cref="ReadAsync" path="/exception"/>
    public async ValueTask CheckAsync(ContentExtent extent, CancellationToken cancellationToken)
    {
        if (!extent.IsZero)
        {
            _ = await ReadAsync(extent, cancellationToken).ConfigureAwait(false);
            return;
        }

        await CheckIsStoredAsync(extent.Range, cancellationToken).ConfigureAwait(false);
        await foreach ((long offsetBytes, BlockStatusRun run) in _image.EnumerateStatusAsync(extent.Range, cancellationToken)
            .ConfigureAwait(false))
        {
            if (run.Status == BlockStatus.Data)
            {
                await CheckReadsAsZeroAsync(new BlockRange(offsetBytes, run.LengthBytes), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <inheritdoc cref="CheckAsync"/>
    public async ValueTask CheckAllAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
    {
        foreach (ContentExtent extent in content)
        {
            await CheckAsync(extent, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Looks for what the image maps of the disk beside what is listed.</summary>
    /// <param name="listed">What is listed.</param>
    /// <param name="sizeBytes">Size of the disk.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <returns>The first such range of an overlay; null for none, and for an image that is complete by itself, whose rest was compared
    /// with zeros.</returns>
    /// <inheritdoc cref="ReadAsync" path="/exception"/>
    public async ValueTask<BlockRange?> FindUnlistedAsync(RangeSet listed, long sizeBytes, CancellationToken cancellationToken)
    {
        foreach (BlockRange rest in listed.Without(new BlockRange(0, sizeBytes)))
        {
            await foreach ((long offsetBytes, BlockStatusRun run) in _image.EnumerateStatusAsync(rest, cancellationToken)
                .ConfigureAwait(false))
            {
                if (_isOverlay && run.Status != BlockStatus.Unallocated)
                {
                    return new BlockRange(offsetBytes, run.LengthBytes);
                }

                if (run.Status == BlockStatus.Data)
                {
                    await CheckReadsAsZeroAsync(new BlockRange(offsetBytes, run.LengthBytes), cancellationToken).ConfigureAwait(false);
                }
            }
        }

        return null;
    }

    /// <summary>Closes the image. Idempotent.</summary>
    public ValueTask DisposeAsync() => _image.DisposeAsync();

    // Where an overlay stores nothing, whoever opens it sees its parent, whatever its manifest says.
    private async ValueTask CheckIsStoredAsync(BlockRange range, CancellationToken cancellationToken)
    {
        if (!_isOverlay)
        {
            return;
        }

        await foreach ((long offsetBytes, BlockStatusRun run) in _image.EnumerateStatusAsync(range, cancellationToken)
            .ConfigureAwait(false))
        {
            if (run.Status == BlockStatus.Unallocated)
            {
                throw Mismatch(new BlockRange(offsetBytes, run.LengthBytes), "is not stored there");
            }
        }
    }

    private async ValueTask CheckReadsAsZeroAsync(BlockRange range, CancellationToken cancellationToken)
    {
        for (long atBytes = range.OffsetBytes; atBytes < range.EndBytes; atBytes += _buffer.Length)
        {
            Memory<byte> piece = _buffer.AsMemory(0, (int)Math.Min(_buffer.Length, range.EndBytes - atBytes));
            await _image.ReadAsync(atBytes, piece, cancellationToken).ConfigureAwait(false);
            if (piece.Span.IndexOfAnyExcept((byte)0) is >= 0 and var index)
            {
                throw Mismatch(new BlockRange(atBytes + index, 1), "is not what was backed up: it should be zero");
            }
        }
    }

    private BlockException Mismatch(BlockRange range, string fault) => new(
        BackupErrors.BackupDigestMismatch,
        $"In '{_path}', what is to be the disk's content of {range.LengthBytes} bytes at offset {range.OffsetBytes} {fault}. Look at the " +
        "storage; points that do not need the range can still be restored.",
        _path,
        range.OffsetBytes,
        "verify");
}
