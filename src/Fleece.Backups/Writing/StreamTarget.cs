// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>A stream that takes the disk's bytes from the first to the last, zeros included: a raw image for its reader.</summary>
/// <remarks>
/// There is no name to give at the end: what went into the stream is a backup when the writer has returned one, and not before.
/// Ownership. The stream stays the caller's, who closes it.
/// </remarks>
#pragma warning disable CA1001 // The node holds nothing: the stream it writes to is the caller's.
internal sealed class StreamTarget : IBackupTarget
{
    private readonly StreamNode _node;

    /// <summary>Refuses a stream that can't be written to.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="sizeBytes">Size of the disk.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public StreamTarget(Stream stream, long sizeBytes)
    {
        _node = stream.CanWrite ? new StreamNode(stream, sizeBytes) : throw new BlockException(
            BlockErrors.InvalidArgument, "The stream can't be written to. Open it for writing.");
    }

    /// <remarks>What is left out is filled with zeros.</remarks>
    public TargetTraits Traits { get; } = new()
    {
        Destination = Name,
        Format = ImageFormat.Raw,
        ReadsAsZero = true,
        ConfirmsWhenDurable = true,
        NeedsOrder = true,
        WritesAtOnce = 1,
    };

    /// <summary>What messages call it.</summary>
    public const string Name = "(stream)";

    public IBlockNode Image => _node;

    /// <remarks>The stream's reader has it.</remarks>
    public bool SurvivesKill => true;

    public async ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
    {
        await _node.FillToAsync(_node.Geometry.LengthBytes, cancellationToken).ConfigureAwait(false);
        await _node.FlushAsync(cancellationToken).ConfigureAwait(false);
        return null;
    }

    public ValueTask<string?> AbandonAsync(bool isOnlyCopy) => new(isOnlyCopy ? Name : null);
}
