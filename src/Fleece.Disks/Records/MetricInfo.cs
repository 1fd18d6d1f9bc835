// SPDX-License-Identifier: MIT
using Fleece.Block.Telemetry;

namespace Fleece.Disks.Records;

/// <summary>The value of a metric for one object, as it was when it was asked for.</summary>
public sealed record MetricInfo
{
    // Made by the engine, and from what a host tells.
    internal MetricInfo()
    {
    }

    /// <summary>The metric's name, as OpenTelemetry writes names.</summary>
    public string Name { get; internal init; } = string.Empty;

    /// <summary>How the value is to be read.</summary>
    public MetricKind Kind { get; internal init; }

    /// <summary>The unit: "s" for seconds, "By" for bytes, or what is counted in braces.</summary>
    public string Unit { get; internal init; } = string.Empty;

    /// <summary>The value; of a histogram, how much was counted.</summary>
    public double Value { get; internal init; }

    /// <summary>Which object's value it is.</summary>
    public IReadOnlyDictionary<string, string> Labels { get; internal init => field = RecordLabels.Of(value); } = RecordLabels.Empty;

    /// <summary>The metric's meaning; a sentence.</summary>
    public string Description { get; internal init; } = string.Empty;

    /// <summary>How much a histogram has counted; null for other kinds.</summary>
    public long? Count { get; internal init; }

    /// <summary>All that a histogram has counted together, in the unit; null for other kinds.</summary>
    public double? Sum { get; internal init; }

    /// <summary>Half of what a histogram has counted is at most this, in the unit; null for other kinds and where nothing was
    /// counted.</summary>
    public double? P50 { get; internal init; }

    /// <summary>99 of 100 that a histogram has counted are at most this; null as for <see cref="P50"/>.</summary>
    public double? P99 { get; internal init; }

    /// <summary>The largest that a histogram has counted; null as for <see cref="P50"/>.</summary>
    public double? Maximum { get; internal init; }

    /// <summary>How much of what a histogram has counted is at most how large; empty for other kinds.</summary>
    public IReadOnlyList<MetricBucket> Buckets { get; internal init; } = RecordList<MetricBucket>.Empty;

    /// <summary>The record of a reading.</summary>
    internal static MetricInfo Of(MetricReading reading) => new()
    {
        Name = reading.Metric.Name,
        Kind = reading.Metric.Kind,
        Unit = reading.Metric.Unit,
        Value = reading.Value,
        Labels = new RecordLabels(reading.Labels.Select(label => KeyValuePair.Create(label.Key, (string)label.Value!))),
        Description = reading.Metric.Description,
        Count = reading.Durations?.Count,
        Sum = reading.Durations?.Total.TotalSeconds,
        P50 = reading.Durations?.Percentile(0.5)?.TotalSeconds,
        P99 = reading.Durations?.Percentile(0.99)?.TotalSeconds,
        Maximum = reading.Durations?.Longest?.TotalSeconds,
        Buckets = new RecordList<MetricBucket>(
            reading.Durations?.ByDoubling().Select(bucket => new MetricBucket { UpperBound = bucket.Seconds, Count = bucket.Count }) ?? []),
    };

    /// <summary>The name with the labels.</summary>
    public override string ToString() => Labels.Count == 0
        ? Name
        : $"{Name}{{{string.Join(", ", Labels.Select(label => $"{label.Key}={label.Value}"))}}}";
}

/// <summary>How much of what a histogram has counted is at most how large.</summary>
public sealed record MetricBucket
{
    // Made by the engine, and from what a host tells.
    internal MetricBucket()
    {
    }

    /// <summary>The bound, in the metric's unit.</summary>
    public double UpperBound { get; internal init; }

    /// <summary>How much is at most that; what is larger than all bounds is in the histogram's count alone.</summary>
    public long Count { get; internal init; }
}
