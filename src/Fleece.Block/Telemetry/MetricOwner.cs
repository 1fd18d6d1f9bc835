// SPDX-License-Identifier: MIT
namespace Fleece.Block.Telemetry;

/// <summary>A live object whose metrics are told, by the labels that name it.</summary>
/// <param name="labels">The labels; their values are names of live objects, so that their number is bounded.</param>
internal sealed class MetricOwner(params (string Name, string Value)[] labels)
{
    private readonly KeyValuePair<string, object?>[] _labels =
        Array.ConvertAll(labels, label => new KeyValuePair<string, object?>(label.Name, label.Value));

    /// <summary>The process, which needs no label.</summary>
    public static MetricOwner Process { get; } = new();

    /// <summary>The labels.</summary>
    public ReadOnlySpan<KeyValuePair<string, object?>> Tags => _labels;

    /// <inheritdoc cref="Tags"/>
    public IEnumerable<KeyValuePair<string, object?>> Labels => _labels;

    /// <summary>The same with a further label.</summary>
    public MetricOwner With(string name, string value) =>
        new([.. _labels.Select(label => (label.Key, (string)label.Value!)), (name, value)]);

    /// <summary>The value of a metric.</summary>
    public MetricReading Read(Metric metric, double value) => new(metric, this, value);

    /// <summary>The value of a metric for one of several kinds.</summary>
    public MetricReading Read(Metric metric, double value, string label, string kind) =>
        new(metric, this, value) { Detail = (label, kind) };

    /// <summary>The durations of a histogram.</summary>
    public MetricReading Read(Metric metric, DurationCounts durations) =>
        new(metric, this, durations.Count) { Durations = durations };
}
