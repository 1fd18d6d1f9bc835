// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;

namespace Fleece;

/// <summary>What the cmdlets share that look at backups, in repositories or in files of their own.</summary>
public abstract class RepositoryCommand : PathCommand
{
    /// <summary>The points that a full path means: of a folder those that the choice takes, of a backup's file that one.</summary>
    internal static (Repository Repository, IReadOnlyList<BackupPoint> Points) FindPoints(
        string path, Func<Repository, IReadOnlyList<BackupPoint>> ofFolder)
    {
        Repository repository = Repository.ReadAny(path, out BackupPoint? point);
        return (repository, point is null ? ofFolder(repository) : [point]);
    }

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
