// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Local;

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
            ForEachFile([backup.Path], isLiteral: backup.Id is not null, path => ProcessFound(backup, path));
        }
    }

    // Wildcards fit the lock of a repository too, and images that nothing says to be backups.
    private void ProcessFound(BackupReference backup, string path)
    {
        try
        {
            Process(backup with { Path = path });
        }
        catch (BlockException e) when (e.Kind == BackupErrors.BackupUnknown && IsByChance(backup, path))
        {
            WriteVerbose($"Skipped, because it is no backup: {e.Message}");
        }
    }

    // An image that is named as one of a repository's has lost its manifest.
    private bool IsByChance(BackupReference backup, string path) =>
        backup.Id is null && WildcardPattern.ContainsWildcardCharacters(backup.Path) && path != ResolveLiteral(backup.Path) &&
        System.IO.File.Exists(path) && !RepositoryNames.TryParse(System.IO.Path.GetFileName(path), out _, out _);

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
        foreach (BlockException fault in repository.Faults)
        {
            WriteError(ErrorRecords.From(fault, fault.Path));
        }

        TellWarning(repository.DescribeStrays());
        TellWarning(repository.Points.Count == 0 ? NestedRepositories.Describe(repository.Path) : null);
    }
}
