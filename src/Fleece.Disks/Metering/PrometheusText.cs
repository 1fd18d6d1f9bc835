// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Fleece.Block.Telemetry;
using Fleece.Disks.Records;

namespace Fleece.Disks.Metering;

/// <summary>Metrics in Prometheus's text format, version 0.0.4, as node_exporter's textfile collector reads it.</summary>
internal static class PrometheusText
{
    /// <summary>The text of metrics.</summary>
    public static string Of(IEnumerable<MetricInfo> metrics)
    {
        StringBuilder text = new();

        // All series of a metric stand together, behind its help.
        foreach (IGrouping<string, MetricInfo> series in metrics.GroupBy(NameOf, StringComparer.Ordinal))
        {
            MetricInfo first = series.First();
            text.Append(CultureInfo.InvariantCulture, $"# HELP {series.Key} {EscapeHelp(first.Description)}\n");
            text.Append(CultureInfo.InvariantCulture, $"# TYPE {series.Key} {first.Kind.ToString().ToLowerInvariant()}\n");
            foreach (MetricInfo metric in series)
            {
                Append(text, series.Key, metric);
            }
        }

        return text.ToString();
    }

    /// <summary>The name of a metric as Prometheus has it: with underscores, its unit and, of a counter, "_total".</summary>
    public static string NameOf(MetricInfo metric)
    {
        string unit = metric.Unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => string.Empty,
        };
        return metric.Name.Replace('.', '_') + unit + (metric.Kind == MetricKind.Counter ? "_total" : string.Empty);
    }

    private static void Append(StringBuilder text, string name, MetricInfo metric)
    {
        string labels = string.Join(',', metric.Labels.Select(label => $"{label.Key}=\"{EscapeValue(label.Value)}\""));
        if (metric.Kind != MetricKind.Histogram)
        {
            AppendLine(text, name, labels, metric.Value);
            return;
        }

        string before = labels.Length == 0 ? string.Empty : labels + ",";
        foreach (MetricBucket bucket in metric.Buckets)
        {
            string bound = bucket.UpperBound.ToString("R", CultureInfo.InvariantCulture);
            AppendLine(text, name + "_bucket", $"{before}le=\"{bound}\"", bucket.Count);
        }

        AppendLine(text, name + "_bucket", $"{before}le=\"+Inf\"", metric.Value);
        AppendLine(text, name + "_sum", labels, metric.Sum ?? 0);
        AppendLine(text, name + "_count", labels, metric.Value);
    }

    private static void AppendLine(StringBuilder text, string name, string labels, double value)
    {
        string braced = labels.Length == 0 ? string.Empty : $"{{{labels}}}";
        text.Append(CultureInfo.InvariantCulture, $"{name}{braced} {value:R}\n");
    }

    private static string EscapeHelp(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string EscapeValue(string text) => EscapeHelp(text).Replace("\"", "\\\"", StringComparison.Ordinal);
}
