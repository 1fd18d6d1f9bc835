// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Records;
using Fleece.Backups.Repositories;

namespace Fleece;

/// <summary>Get-FleeceBackup: the backups of a repository, oldest first.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceBackup", DefaultParameterSetName = PathSet)]
[OutputType(typeof(BackupPointInfo))]
public sealed class GetFleeceBackupCommand : RepositoryCommand
{
    private const string PathSet = "Path";
    private const string LiteralPathSet = "LiteralPath";

    /// <summary>Repositories, or files of backups; wildcards are expanded.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = PathSet)]
    [BackupArgument]
    [ValidateNotNull]
    public BackupReference[] Path { get; set; } = [];

    /// <summary>Repositories, or files of backups, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>Only the newest backup at or before this time.</summary>
    [Parameter]
    public DateTimeOffset? At { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (BackupReference path in ParameterSetName == PathSet ? Path : Literally(LiteralPath))
        {
            ForItem(path.Path, () =>
            {
                bool isPattern = ParameterSetName == PathSet && path.Id is null;
                foreach (BackupReference found in isPattern ? Literally(ResolveWildcards(path.Path)) : [path])
                {
                    ForItem(found.Path, () => Get(found));
                }
            });
        }
    }

    private void Get(BackupReference path)
    {
        (Repository repository, IReadOnlyList<BackupPoint> points) =
            FindPoints(path, repository => At is null ? repository.Points : [repository.FindNewest(At)]);
        foreach (BackupPoint point in points.Where(point => point.Number == 0))
        {
            // Something else may have replaced a file of its own and left the manifest beside it.
            point.CheckFile();
        }

        WriteObject(points.Select(point => new BackupPointInfo(point)), enumerateCollection: true);
        ReportFaults(repository);
    }
}
