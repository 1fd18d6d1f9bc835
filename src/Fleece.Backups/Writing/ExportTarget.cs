// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Disks.Storage;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Backups.Writing;

/// <summary>An export of an NBD server, whose content becomes the backup's.</summary>
/// <remarks>
/// There is no name to give at the end: what the export holds is a backup when the writer has returned one, and not before. What
/// the snapshot refuses is left as it was. Runs of a snapshot end anywhere, so the server's blocks don't matter.
/// </remarks>
internal sealed class ExportTarget(NbdUri uri, IBlockNode image, bool mustVerify) : IBackupTarget
{
    /// <remarks>Writes enough to fill a network's round trip.</remarks>
    public TargetTraits Traits { get; } = new()
    {
        Destination = uri.ToString(),
        ConfirmsWhenDurable = true,
        WritesAtOnce = 8,
        MustVerify = mustVerify,
    };

    public IBlockNode Image => image;

    /// <remarks>The server has it.</remarks>
    public bool SurvivesKill => true;

    /// <summary>Connects and checks that the disk fits.</summary>
    /// <param name="uri">The export.</param>
    /// <param name="options">How to connect.</param>
    /// <param name="sizeBytes">Size of the disk.</param>
    /// <param name="isForced">True to overwrite a disk that clients of another process use at the moment.</param>
    /// <param name="mustVerify">True to read the backup back, and compare it with what went in, before it counts as one.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.ReadOnly"/>, <see cref="BlockErrors.InvalidArgument"/>,
    /// <see cref="BlockErrors.InUse"/>, or why the server can't be reached.</exception>
    public static async ValueTask<ExportTarget> ConnectAsync(
        NbdUri uri, NbdNodeOptions options, long sizeBytes, bool isForced, bool mustVerify, CancellationToken cancellationToken)
    {
        string? advice = isForced ? null : "Disconnect them first, or use -Force.";
        NbdNode node = await StorageAddress
            .ConnectToOverwriteAsync(uri, options, "a backup or a restore", advice, cancellationToken).ConfigureAwait(false);
        IBlockNode image = ByteGranularNode.Over(DiskSectors.Over(node));
        BlockGeometry geometry = image.Geometry;
        if (!geometry.IsReadOnly && geometry.LengthBytes >= sizeBytes)
        {
            return new ExportTarget(uri, image, mustVerify);
        }

        await image.DisposeAsync().ConfigureAwait(false);
        throw geometry.IsReadOnly
            ? new BlockException(BlockErrors.ReadOnly, $"'{uri}' is exported read-only; nothing can be written there.")
            : new BlockException(
                BlockErrors.InvalidArgument,
                $"'{uri}' has {geometry.LengthBytes} bytes and the disk {sizeBytes}; the export must be at least as large.");
    }

    public async ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
    {
        await image.FlushAsync(cancellationToken).ConfigureAwait(false);
        if (mustVerify)
        {
            ContentReader reader = new(Traits.Destination, isOverlay: false, image);
            await reader.CheckAllAsync(content, cancellationToken).ConfigureAwait(false);
        }

        await image.DisposeAsync().ConfigureAwait(false);
        return null;
    }

    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        await image.DisposeAsync().ConfigureAwait(false);
        return isOnlyCopy ? Traits.Destination : null;
    }
}
