// SPDX-License-Identifier: MIT
using Fleece.Sessions.Repositories;

namespace Fleece;

/// <summary>What the cmdlets share that look at backup repositories.</summary>
public abstract class RepositoryCommand : FleeceCommand
{
    /// <summary>The points that a user's path means: of a folder those that the choice takes, of a backup's file that one.</summary>
    internal (Repository Repository, IReadOnlyList<BackupPoint> Points) FindPoints(
        string path, Func<Repository, IReadOnlyList<BackupPoint>> ofFolder)
    {
        string fullPath = System.IO.Path.TrimEndingDirectorySeparator(ResolveLiteral(path));
        if (!File.Exists(fullPath))
        {
            Repository repository = Repository.Read(fullPath);
            return (repository, ofFolder(repository));
        }

        Repository around = Repository.Read(System.IO.Path.GetDirectoryName(fullPath)!);
        return (around, [around.FindFile(System.IO.Path.GetFileName(fullPath))]);
    }

    /// <summary>Reports the manifests that can't be read, each as an error of its own.</summary>
    internal void ReportFaults(Repository repository)
    {
        foreach (Block.BlockException fault in repository.Faults)
        {
            WriteError(ErrorRecords.From(fault, fault.Path));
        }
    }
}
