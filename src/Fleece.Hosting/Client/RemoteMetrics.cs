// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The metrics of a host.</summary>
internal sealed class RemoteMetrics(HostClient client) : IMetricControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<MetricInfo>> ListMetricsAsync(CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<MetricInfo>>(nameof(ListMetricsAsync), new { }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionMeasurement> MeasureSessionAsync(
        DiskReference disk, MeasureRequest request, CancellationToken cancellationToken) =>
        client.AskAsync<SessionMeasurement>(nameof(MeasureSessionAsync), new { disk, request }, cancellationToken);
}
