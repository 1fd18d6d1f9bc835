// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Reading;

/// <summary>Divides what can be read of a snapshot into chunks, each byte into one.</summary>
/// <remarks>Threading. One caller at a time.</remarks>
internal interface IChunkPlan
{
    /// <summary>The next chunk's range and whether it is all zero; an empty range at the end.</summary>
    ValueTask<(BlockRange Range, bool IsZero)> NextAsync(CancellationToken cancellationToken);
}
