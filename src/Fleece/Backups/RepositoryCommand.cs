// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;

namespace Fleece;

/// <summary>What the cmdlets share that look at backups, in repositories or in files of their own.</summary>
public abstract class RepositoryCommand : FleeceCommand
{
    /// <summary>The points that a user's path means: of a folder those that the choice takes, of a backup's file that one.</summary>
    internal (Repository Repository, IReadOnlyList<BackupPoint> Points) FindPoints(
        BackupReference reference, Func<Repository, IReadOnlyList<BackupPoint>> ofFolder)
    {
        Repository repository = RepositoryReader.ReadAny(ResolveLiteral(reference.Path), out BackupPoint? point);
        reference.Check(point);
        return (repository, point is null ? ofFolder(repository) : [point]);
    }

    internal static IEnumerable<BackupReference> Literally(IEnumerable<string> paths) => paths.Select(path => new BackupReference(path));

    /// <summary>Reports the manifests that can't be read, each as an error of its own, and warns of images without one.</summary>
    internal void ReportFaults(Repository repository)
    {
        foreach (Block.BlockException fault in repository.Faults)
        {
            WriteError(ErrorRecords.From(fault, fault.Path));
        }

        TellWarning(repository.DescribeStrays());
    }
}
