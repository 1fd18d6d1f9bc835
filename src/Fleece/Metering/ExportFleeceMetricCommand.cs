// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Text;
using Fleece.Block.Files;
using Fleece.Disks.Metering;
using Fleece.Disks.Records;

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
            Write(file, PrometheusText.Of(metrics));
            if (PassThru)
            {
                WriteObject(metrics, enumerateCollection: true);
            }
        }
    });

    // The collector takes files that end with .prom alone, so it never sees half a file.
    private static void Write(string file, string text)
    {
        WholeFile.WritePartial(file, Encoding.UTF8.GetBytes(text));
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(file + WholeFile.Partial, Mode);
        }

        WholeFile.Publish(file, overwrite: true);
    }
}
