// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>A snapshot whose owner sees the guest's writes, and so can tell where they will need copies next.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal interface IAtRiskSource
{
    /// <summary>Offsets at which the snapshot is untouched, near the guest's latest writes, that of the newest first; a hint that may be
    /// late.</summary>
    ValueTask<IReadOnlyList<long>> FindAtRiskAsync(CancellationToken cancellationToken);
}
