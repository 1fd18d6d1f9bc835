// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about metrics.</summary>
internal sealed class ClientMetrics(ConnectedClient client, IMetricControl metrics) : IMetricControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<MetricInfo>> ListMetricsAsync(CancellationToken cancellationToken) =>
        client.AskAsync(metrics.ListMetricsAsync, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionMeasurement> MeasureSessionAsync(
        DiskReference disk, MeasureRequest request, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction("session.measure", $"measure a session of {disk} for {request.Duration}", disk.Name),
            (_, token) => metrics.MeasureSessionAsync(disk, request, token),
            cancellationToken);
}
