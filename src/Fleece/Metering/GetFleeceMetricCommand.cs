// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>Get-FleeceMetric: counts and times of the process that owns the disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceMetric")]
[OutputType(typeof(MetricInfo))]
public sealed class GetFleeceMetricCommand : FleeceCommand
{
    /// <summary>Names of metrics, wildcards allowed; all when left out.</summary>
    [Parameter(Position = 0)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(MetricNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string[] Name { get; set; } = ["*"];

    /// <inheritdoc/>
    protected override void EndProcessing()
    {
        foreach (string name in Name)
        {
            ForItem(name, () =>
            {
                WildcardPattern pattern = NamePattern.Parse(name);
                if (!FleeceMetrics.All.Any(metric => pattern.IsMatch(metric.Name)))
                {
                    throw new BlockException(
                        BlockErrors.InvalidArgument, $"No metric is called '{name}'. Get-FleeceMetric without -Name lists all.");
                }

                WriteObject(
                    Wait(Owner.Metrics.ListMetricsAsync(StopToken)).Where(metric => pattern.IsMatch(metric.Name)),
                    enumerateCollection: true);
            });
        }
    }
}
