// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Fleece.Block.Telemetry;

/// <summary>The meter and the source of activities, both "Fleece", which listeners of this process find by that name.</summary>
/// <remarks>Histograms are told as they happen. All else is read from the live objects when a listener asks, so it costs nothing before and
/// ends with its object.</remarks>
internal static class FleeceMeter
{
    /// <summary>The name of both.</summary>
    public const string Name = "Fleece";

    private static readonly Meter Meter = new(Name);
    private static readonly Lock SourcesLock = new();
    private static readonly List<WeakReference<IMetricSource>> Sources = [];

    static FleeceMeter()
    {
        foreach (Metric metric in FleeceMetrics.All)
        {
            if (metric.Kind == MetricKind.Counter)
            {
                Meter.CreateObservableCounter(metric.Name, () => Observe(metric), metric.Unit, metric.Description);
            }
            else if (metric.Kind == MetricKind.Gauge)
            {
                Meter.CreateObservableUpDownCounter(metric.Name, () => Observe(metric), metric.Unit, metric.Description);
            }
        }
    }

    /// <summary>Starts and ends, backups and restores: what is rare.</summary>
    public static ActivitySource Activities { get; } = new(Name);

    /// <inheritdoc cref="FleeceMetrics.GuestWaits"/>
    public static Histogram<double> GuestWaits { get; } = CreateHistogram(FleeceMetrics.GuestWaits);

    /// <inheritdoc cref="FleeceMetrics.FrozenWaits"/>
    public static Histogram<double> FrozenWaits { get; } = CreateHistogram(FleeceMetrics.FrozenWaits);

    /// <inheritdoc cref="FleeceMetrics.ReaderWaits"/>
    public static Histogram<double> ReaderWaits { get; } = CreateHistogram(FleeceMetrics.ReaderWaits);

    /// <inheritdoc cref="FleeceMetrics.Copies"/>
    public static Histogram<double> Copies { get; } = CreateHistogram(FleeceMetrics.Copies);

    /// <inheritdoc cref="FleeceMetrics.NbdRequests"/>
    public static Histogram<double> NbdRequests { get; } = CreateHistogram(FleeceMetrics.NbdRequests);

    /// <summary>Has listeners be told of objects for as long as something else refers to the source. Idempotent.</summary>
    public static void Add(IMetricSource source)
    {
        lock (SourcesLock)
        {
            Sources.RemoveAll(reference => !reference.TryGetTarget(out IMetricSource? other) || other == source);
            Sources.Add(new WeakReference<IMetricSource>(source));
        }
    }

    private static Histogram<double> CreateHistogram(Metric metric) =>
        Meter.CreateHistogram<double>(metric.Name, metric.Unit, metric.Description);

    private static List<Measurement<double>> Observe(Metric metric)
    {
        List<IMetricSource> sources = [];
        lock (SourcesLock)
        {
            foreach (WeakReference<IMetricSource> reference in Sources)
            {
                if (reference.TryGetTarget(out IMetricSource? source))
                {
                    sources.Add(source);
                }
            }
        }

        return
        [
            .. sources.SelectMany(source => source.ReadMetrics())
                .Where(reading => reading.Metric == metric)
                .Select(reading => new Measurement<double>(reading.Value, reading.Labels)),
        ];
    }
}
