// SPDX-License-Identifier: MIT
namespace Fleece.Block.Telemetry;

/// <summary>How a metric's value is to be read.</summary>
public enum MetricKind
{
    /// <summary>A total that only grows while its object lives.</summary>
    Counter,

    /// <summary>A state, which goes up and down.</summary>
    Gauge,

    /// <summary>How often something took how long.</summary>
    Histogram,
}

/// <summary>A metric, as it is told to all who ask.</summary>
/// <param name="Name">The name as OpenTelemetry writes it.</param>
/// <param name="Kind">How its value is to be read.</param>
/// <param name="Unit">The unit in UCUM: "s", "By", or what is counted in braces.</param>
/// <param name="Description">A sentence.</param>
internal sealed record Metric(string Name, MetricKind Kind, string Unit, string Description);

/// <summary>The value of a metric for one object.</summary>
/// <param name="Metric">The metric.</param>
/// <param name="Owner">Whose value it is.</param>
/// <param name="Value">The value; of a histogram, how much was counted.</param>
internal sealed record MetricReading(Metric Metric, MetricOwner Owner, double Value)
{
    /// <summary>The name and the value of a further label; null for none.</summary>
    public (string Name, string Value)? Detail { get; init; }

    /// <summary>The durations of a histogram; null for others.</summary>
    public DurationCounts? Durations { get; init; }

    /// <summary>All labels.</summary>
    public IEnumerable<KeyValuePair<string, object?>> Labels => Detail is { } detail
        ? Owner.Labels.Append(new KeyValuePair<string, object?>(detail.Name, detail.Value))
        : Owner.Labels;
}

/// <summary>Live objects that can tell their metrics.</summary>
internal interface IMetricSource
{
    /// <summary>The metrics as they are now.</summary>
    IEnumerable<MetricReading> ReadMetrics();
}
