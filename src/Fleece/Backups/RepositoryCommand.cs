// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;

namespace Fleece;

/// <summary>What the cmdlets share that look at backups, in repositories or in files of their own.</summary>
public abstract class RepositoryCommand : FleeceCommand
{
    private protected const string PathSet = "Path";
    private protected const string LiteralPathSet = "LiteralPath";

    /// <summary>Repositories, or files of backups; wildcards are expanded.</summary>
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [SupportsWildcards]
    [BackupArgument]
    [ValidateNotNull]
    public BackupReference[] Path { get; set; } = [];

    /// <summary>Repositories, or files of backups, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <inheritdoc/>
    protected sealed override void ProcessRecord()
    {
        if (ParameterSetName == LiteralPathSet)
        {
            ForEachFile(LiteralPath, isLiteral: true, path => Process(new BackupReference(path)));
            return;
        }

        foreach (BackupReference backup in Path)
        {
            ForEachFile([backup.Path], isLiteral: backup.Id is not null, path => Process(backup with { Path = path }));
        }
    }

    /// <summary>Does the cmdlet's work for a repository or a backup, by its full path.</summary>
    private protected abstract void Process(BackupReference path);

    /// <summary>The points that a full path means: of a folder those that the choice takes, of a backup's file that one.</summary>
    internal static (Repository Repository, IReadOnlyList<BackupPoint> Points) FindPoints(
        BackupReference reference, Func<Repository, IReadOnlyList<BackupPoint>> ofFolder)
    {
        Repository repository = RepositoryReader.ReadAny(reference.Path, out BackupPoint? point);
        reference.Check(point);
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
