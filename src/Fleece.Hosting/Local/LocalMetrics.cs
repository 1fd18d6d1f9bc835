// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Disks.Measuring;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Local;

/// <summary>The metrics of this process.</summary>
internal sealed class LocalMetrics(MountedDisks mounted) : IMetricControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<MetricInfo>> ListMetricsAsync(CancellationToken cancellationToken) =>
        new([.. mounted.ReadMetrics().Select(MetricInfo.Of)]);

    /// <inheritdoc/>
    public ValueTask<SessionMeasurement> MeasureSessionAsync(
        DiskReference disk, MeasureRequest request, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        MeasureOptions options = new()
        {
            Duration = request.Duration,
            GranuleSizeBytes = request.GranuleSizeBytes,
            Bitmap = request.Bitmap?.NameOn(found),
            TempLimitBytes = request.TempLimitBytes,
        };
        return SessionGauge.RunAsync(found, options, TimeProvider.System, cancellationToken);
    }
}
