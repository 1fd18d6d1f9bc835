// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Hosting.Control;

/// <summary>Requests about what the process has counted and timed.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IMetricControl
{
    /// <summary>All metrics as they are now: those of the process, and those of each live object.</summary>
    ValueTask<IReadOnlyList<MetricInfo>> ListMetricsAsync(CancellationToken cancellationToken);

    /// <summary>Measures for a time what a session of a disk would copy. It answers when the time is over.</summary>
    ValueTask<SessionMeasurement> MeasureSessionAsync(
        DiskReference disk, MeasureRequest request, CancellationToken cancellationToken);
}
