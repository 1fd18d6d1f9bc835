// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Restoring;

/// <summary>Where a restore writes to, and how that becomes the restored disk.</summary>
/// <remarks>Ownership. The target owns its image and closes it in either way of ending.</remarks>
internal interface IRestoreTarget
{
    /// <summary>Where the bytes go.</summary>
    IBlockNode Image { get; }

    /// <summary>True when it reads as zeros where nothing was written; otherwise every byte of the disk is written.</summary>
    bool ReadsAsZero { get; }

    /// <summary>Steps of the plan whose data an interrupted restore has left there.</summary>
    int ResumedSteps { get; }

    /// <summary>What the user should hear of how it began; a whole sentence, or null for nothing.</summary>
    string? Note { get; }

    /// <summary>Makes what was written durable, and notes it where a restore can be taken up again.</summary>
    /// <param name="steps">How many steps of the plan that is.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    ValueTask MakeDurableAsync(int steps, CancellationToken cancellationToken);

    /// <summary>Closes the whole, which is durable, and gives it its name.</summary>
    ValueTask CompleteAsync();

    /// <summary>Ends a restore that was not completed.</summary>
    /// <param name="steps">How many steps of the plan were written.</param>
    ValueTask AbandonAsync(int steps);
}
