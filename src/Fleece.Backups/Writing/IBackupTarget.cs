// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>What a backup is written to, and how it becomes one.</summary>
/// <remarks>Ownership. The target owns its image and closes it in either way of ending.</remarks>
internal interface IBackupTarget
{
    /// <summary>What messages and the finished backup call it.</summary>
    string Destination { get; }

    /// <summary>The format of the file; null for an export.</summary>
    ImageFormat? Format { get; }

    /// <summary>Where the bytes go.</summary>
    IBlockNode Image { get; }

    /// <summary>True when it reads as zeros where nothing was written.</summary>
    bool ReadsAsZero { get; }

    /// <summary>
    /// True when the target can lose what it has acknowledged while this process and its sessions live on, as a server can: chunks are
    /// then confirmed when they are durable.
    /// </summary>
    bool ConfirmsWhenDurable { get; }

    /// <summary>How many writes at a time serve it best.</summary>
    int WritesAtOnce { get; }

    /// <summary>True when it keeps what it holds in a manifest.</summary>
    bool KeepsManifest { get; }

    /// <summary>What tells that the backup may be of another disk than the one before it in its repository; whole sentences, null for
    /// nothing.</summary>
    string? OtherSourceNote { get; }

    /// <summary>What it has become, as its manifest says; null before that, and without one.</summary>
    BackupPoint? Point { get; }

    /// <summary>Makes what was written durable and gives it its name.</summary>
    /// <param name="content">What was written; empty when nobody wants to know.</param>
    /// <param name="mustVerify">True to read it back before.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    ValueTask CompleteAsync(IReadOnlyList<ContentExtent> content, bool mustVerify, CancellationToken cancellationToken);

    /// <summary>Ends a backup that was not completed.</summary>
    /// <param name="isOnlyCopy">True when it holds bytes that were consumed from the snapshot.</param>
    /// <returns>Where those bytes are kept; null when nothing is.</returns>
    ValueTask<string?> AbandonAsync(bool isOnlyCopy);
}
