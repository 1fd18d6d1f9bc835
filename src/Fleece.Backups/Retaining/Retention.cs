// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;

namespace Fleece.Backups.Retaining;

/// <summary>Takes the oldest backups out of a repository.</summary>
/// <remarks>
/// <para>One that others build on is merged into its successor (<see cref="PointMerge"/>); one that nothing builds on is deleted. The
/// newest ones are never touched, and no point that is kept changes its content.</para>
/// <para>Threading. One thread, which holds the repository.</para>
/// </remarks>
internal sealed class Retention(RepositoryFolder folder)
{
    private readonly List<int> _removed = [];

    /// <summary>Numbers of the backups that were taken out.</summary>
    public IReadOnlyList<int> Removed => _removed;

    /// <summary>Why more backups than wanted are left; null when that many are.</summary>
    public string? Note { get; private set; }

    /// <summary>Finishes what a killed job has begun.</summary>
    /// <exception cref="BlockException">Why it can't be finished now. Points that are kept can be restored all the same.</exception>
    public async ValueTask FinishAsync(CancellationToken cancellationToken = default)
    {
        while (folder.Read() is var repository && repository.FindLeaving() is { } point)
        {
            Manifest successor = repository.Find(point.SuccessorId!.Value)!; // Without one it would be a fault.
            await new PointMerge(folder, repository, point, successor).RunAsync(cancellationToken).ConfigureAwait(false);
            _removed.Add(point.Number);
        }
    }

    /// <summary>Takes out the oldest until a number of backups is left.</summary>
    /// <param name="keep">At least 1.</param>
    /// <param name="cancellationToken">Ends the work between two pieces; the next job goes on.</param>
    /// <exception cref="BlockException">Why one can't be taken out.</exception>
    public async ValueTask KeepAsync(int keep, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keep, 1);
        await FinishAsync(cancellationToken).ConfigureAwait(false);
        while (folder.Read() is var repository && repository.Manifests is { } all && all.Count > keep)
        {
            if (repository.Faults.Count != 0)
            {
                throw Unknown(repository);
            }

            Manifest[] old = [.. all.Take(all.Count - keep)];
            Manifest? holder = FindHolder(repository);
            Manifest[] free = [.. old.Where(manifest => holder is null || manifest.Number >= holder.Number)];
            if (Array.Find(free, manifest => !repository.ChildrenOf(manifest.Id).Any()) is { } leaf)
            {
                folder.Remove(leaf);
                _removed.Add(leaf.Number);
            }
            else if (Array.Find(free, manifest => FindSuccessor(repository, manifest) is not null) is { } point)
            {
                Manifest successor = FindSuccessor(repository, point)!;
                await new PointMerge(folder, repository, point, successor).RunAsync(cancellationToken).ConfigureAwait(false);
                _removed.Add(point.Number);
            }
            else if (holder is not null && old.Length != free.Length)
            {
                Note = $"{old.Length} more than {keep} backups are kept, because the backup {holder.Number} builds on one whose manifest " +
                    $"is missing, and that may build on them. {repository.DescribeStrays()}";
                return;
            }
            else
            {
                Note = $"{old.Length} more than {keep} backups are kept, because others of another format build on them, or more than " +
                    "one does. They go when the whole chain is old; a full backup begins a new one.";
                return;
            }
        }
    }

    // An image without its manifest may be the parent of an orphan and the child of an older backup: put back, it makes a chain of them. So
    // the newest orphan holds all that are older.
    private static Manifest? FindHolder(Repository repository) =>
        repository.Manifests.LastOrDefault(manifest => IsOrphan(repository, manifest)) is { } orphan && repository.Strays.Count != 0
            ? orphan
            : null;

    private static bool IsOrphan(Repository repository, Manifest manifest) =>
        manifest.ParentId is { } parentId && repository.Find(parentId) is null;

    // An unknown backup may be the parent of another. The way out without a copy costs the backups that can't be restored anyway.
    private static BlockException Unknown(Repository repository)
    {
        BlockException fault = repository.Faults[0];
        Manifest? orphan = repository.Manifests.FirstOrDefault(manifest => IsOrphan(repository, manifest));
        return new BlockException(
            fault.Kind,
            $"No old backup is taken out while a manifest can't be used. {fault.Message} Without a copy, move '{fault.Path}' out of the " +
            (orphan is null && repository.Faults.Count == 1
                ? "folder, and the image beside it too: no other backup builds on it."
                : "folder, and leave the image beside it, on which " +
                  (orphan is null ? "another backup" : $"the backup {orphan.Number}") +
                  " may build; -Full begins a new chain, and the old one goes in time."),
            fault.Path,
            operation: "merge",
            cause: fault);
    }

    private static Manifest? FindSuccessor(Repository repository, Manifest manifest) =>
        repository.ChildrenOf(manifest.Id).ToArray() is [var only] && Succession.CanMerge(manifest, only) ? only : null;
}
