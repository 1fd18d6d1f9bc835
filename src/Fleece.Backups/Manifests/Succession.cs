// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Manifests;

/// <summary>Which backup can take the place of one that is on its way out.</summary>
internal static class Succession
{
    /// <summary>True when the formats let one file take the other's place.</summary>
    public static bool CanMerge(Manifest point, Manifest successor) => point.Format == successor.Format;

    /// <summary>Refuses a merge that no job can have begun.</summary>
    /// <param name="point">The backup that is on its way out.</param>
    /// <param name="successor">The one that its manifest names; null when that is not in the repository.</param>
    /// <param name="children">Those that build on it.</param>
    /// <returns>What is wrong with its manifest; null when nothing is.</returns>
    public static string? FindFault(Manifest point, Manifest? successor, IEnumerable<Manifest> children)
    {
        string says = $"its field 'state' is {point.State}, and its field 'successorId' names ";
        return successor is null ? $"{says}{point.SuccessorId}, a backup that can't be found in the repository"
            : !Follows(point, successor) ? $"{says}the backup {successor.Number}, which can't take its place"
            : children.FirstOrDefault(child => child.Id != successor.Id) is { } other
                ? $"{says}the backup {successor.Number}, but the backup {other.Number} builds on it too"
            : null;
    }

    // Once the successor is described, it builds on what the point was built on.
    private static bool Follows(Manifest point, Manifest successor) =>
        successor.Number > point.Number && successor.SizeBytes == point.SizeBytes && CanMerge(point, successor) &&
        (successor.ParentId == point.Id ||
            (point.State == PointState.Merged && successor.ParentId == point.ParentId && successor.ChainId == point.ChainId &&
                (successor.HasMerged || !successor.IsSealed)));
}
