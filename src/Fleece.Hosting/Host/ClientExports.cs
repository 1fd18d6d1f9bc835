// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about exports.</summary>
internal sealed class ClientExports(ConnectedClient client, ServedDisks disks) : IExportControl
{
    /// <inheritdoc/>
    public ValueTask<ExportInfo> PublishAsync(DiskReference disk, ListenRequest request, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction("export.publish", $"publish {disk} at {request.ListenUri}", disk.Name, request.ListenUri),
            (_, token) => disks.PublishAsync(disk, request, token),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<ExportInfo>> ListExportsAsync(CancellationToken cancellationToken) =>
        client.AskAsync(disks.Owner.Exports.ListExportsAsync, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<ExportInfo> UnpublishAsync(ExportReference export, bool isForced, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction(
                "export.unpublish",
                $"unpublish {export} of {export.Disk}{(isForced ? " by force" : string.Empty)}",
                $"{export.Disk}/{export}"),
            (_, token) => disks.UnpublishAsync(export, isForced, token),
            cancellationToken);
}
