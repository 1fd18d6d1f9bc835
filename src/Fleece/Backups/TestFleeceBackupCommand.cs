// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Test-FleeceBackup: tells whether backups can be restored.</summary>
[Cmdlet(VerbsDiagnostic.Test, "FleeceBackup", DefaultParameterSetName = PathSet)]
[OutputType(typeof(BackupReport))]
public sealed class TestFleeceBackupCommand : RepositoryCommand
{
    private readonly HashSet<string> _tested = new(StringComparer.Ordinal);

    // The first backup that is not good, of each chain in which one was found, by the repository and the backup that needs it.
    private readonly Dictionary<(string, Guid), BackupReport> _causes = [];
    private bool _isWarned;

    /// <summary>Read all that the backups hold and compare it with the digests of what was backed up.</summary>
    [Parameter]
    public SwitchParameter Deep { get; set; }

    /// <inheritdoc/>
    private protected override void Process(BackupReference path)
    {
        (Repository repository, IReadOnlyList<BackupPoint> points) = FindPoints(path, repository => repository.Points);
        bool isFile = points.Count == 1 && System.IO.Path.TrimEndingDirectorySeparator(path.Path) != repository.Path;
        foreach (BackupPoint point in isFile ? BackupTest.ChainOf(repository, points[0]).Reverse() : points)
        {
            // Objects of Get-FleeceBackup come one by one and share what they build on.
            if (_tested.Add(point.Path))
            {
                Test(repository, point);
            }
        }

        ReportFaults(repository);
    }

    private void Test(Repository repository, BackupPoint point)
    {
        // Of a chain or a repository they are all alike: the reports say which.
        if (!point.IsSealed && !_isWarned)
        {
            _isWarned = true;
            WriteWarning(point.DescribeMissingSeal());
        }

        if (point.IsShared)
        {
            WriteWarning(point.DescribeSharing());
        }

        BackupReport? cause = point.ParentId is { } parentId ? _causes.GetValueOrDefault((repository.Path, parentId)) : null;
        BackupTest test = new(repository, point, Deep, cause);
        try
        {
            ByteProgress progress = new(this, $"Testing {point.Path}", test.DataBytes);
            while (Wait(test.StepAsync(StopToken)))
            {
                progress.Report(test.CheckedBytes);
            }

            progress.Complete();
            BackupReport report = test.Report;
            if (!report.IsGood)
            {
                _causes.TryAdd((repository.Path, point.Id), cause ?? report);
            }

            WriteObject(report);
        }
        finally
        {
            Wait(test.DisposeAsync());
        }
    }
}
