// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The exports of a host's disks.</summary>
internal sealed class RemoteExports(HostClient client) : IExportControl
{
    /// <inheritdoc/>
    public async ValueTask<ExportInfo> PublishAsync(DiskReference disk, ListenRequest request, CancellationToken cancellationToken)
    {
        CertificatePaths.Check(request.Tls);
        return await client.ChangeAsync<ExportInfo>(nameof(PublishAsync), new { disk, request }, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<ExportInfo>> ListExportsAsync(CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<ExportInfo>>(nameof(ListExportsAsync), new { }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<ExportInfo> UnpublishAsync(ExportReference export, bool isForced, CancellationToken cancellationToken) =>
        client.ChangeAsync<ExportInfo>(nameof(UnpublishAsync), new { export, isForced }, cancellationToken, async () =>
        {
            IReadOnlyList<ExportInfo> exports = await ListExportsAsync(CancellationToken.None).ConfigureAwait(false);
            return exports.Any(other => other.ExportId == export.ExportId)
                ? $"It was not done: the export '{export}' is published."
                : $"It was done: the export '{export}' is no longer published.";
        });
}
