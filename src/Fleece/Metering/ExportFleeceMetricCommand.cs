// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Text;
using Fleece.Block.Telemetry;
using Fleece.Disks.Metering;
using Fleece.Disks.Records;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Export-FleeceMetric: writes all metrics into a file that Prometheus's node_exporter reads.</summary>
[Cmdlet(VerbsData.Export, "FleeceMetric", SupportsShouldProcess = true)]
[OutputType(typeof(MetricInfo))]
public sealed class ExportFleeceMetricCommand : SilentCommand
{
    // node_exporter runs as a user of its own.
    private const UnixFileMode Mode =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    /// <summary>The file, which is replaced in one step; its name ends with .prom where node_exporter is to read it.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string Path { get; set; } = string.Empty;

    /// <inheritdoc/>
    protected override void EndProcessing() => ForItem(Path, () =>
    {
        string file = ResolveLiteral(Path);
        IReadOnlyList<MetricInfo> metrics = Wait(Owner.Metrics.ListMetricsAsync(StopToken));
        if (ShouldProcess(file, "Write the metrics"))
        {
            // The collector takes files that end with .prom alone, so it never sees half a file.
            PublishedFile.Write(file, Encoding.UTF8.GetBytes(PrometheusText.Of(metrics)), Mode);
            TellWarning(Owner is LocalOwner && FleeceModule.Host is null ? WarnOfNoDisk(file, metrics) : null);
            if (PassThru)
            {
                WriteObject(metrics, enumerateCollection: true);
            }
        }
    });

    // A job of its own, which nothing told where the host is, would report an empty system day after day.
    private static string? WarnOfNoDisk(string file, IReadOnlyList<MetricInfo> metrics) =>
        metrics.Any(metric => metric.Name == FleeceMetrics.Disks.Name && metric.Value != 0)
            ? null
            : $"'{file}' tells of this process, which uses no host and has no disk. Name the host whose disks are meant, with " +
            "Connect-FleeceHost or $env:FLEECE_HOST, or export where the disks are mounted.";
}
