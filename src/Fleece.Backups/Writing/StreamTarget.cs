// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>A stream that takes the disk's bytes from the first to the last, zeros included: a raw image for whoever reads it.</summary>
/// <remarks>
/// There is no name to give at the end: what went into the stream is a backup when the writer has returned one, and not before.
/// Ownership. The stream stays the caller's, who closes it.
/// </remarks>
#pragma warning disable CA1001 // The node holds nothing: the stream it writes to is the caller's.
internal sealed class StreamTarget(Stream stream, long sizeBytes) : IBackupTarget
{
    private readonly StreamNode _node = new(stream, sizeBytes);

    /// <inheritdoc/>
    public string Destination => "(stream)";

    /// <inheritdoc/>
    public ImageFormat? Format => ImageFormat.Raw;

    /// <inheritdoc/>
    public IBlockNode Image => _node;

    /// <inheritdoc/>
    /// <remarks>What is left out is filled with zeros.</remarks>
    public bool ReadsAsZero => true;

    /// <inheritdoc/>
    public bool ConfirmsWhenDurable => true;

    /// <inheritdoc/>
    public int WritesAtOnce => 1;

    /// <inheritdoc/>
    public bool KeepsManifest => false;

    /// <inheritdoc/>
    public BackupPoint? Point => null;

    /// <inheritdoc/>
    public string? OtherSourceNote => null;

    /// <summary>Refuses what a stream can't do.</summary>
    public static StreamTarget Create(Stream stream, BackupOptions options, long sizeBytes) =>
        options.MustVerify || !stream.CanWrite
            ? throw new BlockException(
                BlockErrorKind.InvalidArgument,
                options.MustVerify
                    ? "What went into a stream can't be read back. Leave the verification to whoever reads it."
                    : "The stream can't be written to. Open it for writing.")
            : new StreamTarget(stream, sizeBytes);

    /// <inheritdoc/>
    public async ValueTask CompleteAsync(IReadOnlyList<ContentExtent> content, bool mustVerify, CancellationToken cancellationToken)
    {
        await _node.FillToAsync(sizeBytes, cancellationToken).ConfigureAwait(false);
        await _node.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<string?> AbandonAsync(bool isOnlyCopy) => new(isOnlyCopy ? Destination : null);
}
