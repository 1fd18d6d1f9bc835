// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Repositories;
using Fleece.Block;

namespace Fleece.Backups.Writing;

/// <summary>What a backup is written to, and how it becomes one.</summary>
/// <remarks>Ownership. The target owns its image and closes it in either way of ending.</remarks>
internal interface IBackupTarget
{
    /// <summary>How it is written to.</summary>
    TargetTraits Traits { get; }

    /// <summary>Where the bytes go.</summary>
    IBlockNode Image { get; }

    /// <summary>True when all that was written by now is there behind a kill of the process, or is of no use then. A chunk that is consumed
    /// while this is false may exist nowhere.</summary>
    bool SurvivesKill { get; }

    /// <summary>Is called once, before the first chunk is consumed: from then on the target may hold the only copy.</summary>
    /// <exception cref="BlockException">Why it can't: nothing is consumed then.</exception>
    void BecomeOnlyCopy()
    {
    }

    /// <summary>Makes what was written durable, reads it back where that was asked for, and gives it its name.</summary>
    /// <param name="content">What was written; empty for a target that does not need it.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>What it has become, as its manifest says; null without one.</returns>
    ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken);

    /// <summary>Ends a backup that was not completed.</summary>
    /// <param name="isOnlyCopy">True when it holds bytes that were consumed from the snapshot.</param>
    /// <returns>Where those bytes are kept; null when nothing is.</returns>
    ValueTask<string?> AbandonAsync(bool isOnlyCopy);
}
