// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Records;
using Fleece.Backups.Repositories;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Get-FleeceBackup: the backups of a repository, oldest first.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceBackup", DefaultParameterSetName = PathSet)]
[OutputType(typeof(BackupPointInfo))]
public sealed class GetFleeceBackupCommand : RepositoryCommand
{
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);

    /// <summary>Only the newest backup at or before this time.</summary>
    [Parameter]
    public DateTimeOffset? At { get; set; }

    /// <inheritdoc/>
    private protected override void Process(BackupReference path)
    {
        (Repository repository, IReadOnlyList<BackupPoint> points) =
            FindPoints(path, repository => At is null ? repository.Points : [repository.FindNewest(At)]);
        foreach (BackupPoint point in points.Where(point => point.Number == 0))
        {
            // Something else may have replaced a file of its own and left the manifest beside it.
            point.CheckFile();
        }

        // Wildcards fit a backup's image and its manifest.
        WriteObject(points.Where(point => _told.Add(point.Path)).Select(point => new BackupPointInfo(point)), enumerateCollection: true);
        ReportFaults(repository);
    }
}
