// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.Local;

/// <summary>The exports of this process.</summary>
internal sealed class LocalExports(MountedDisks mounted) : IExportControl
{
    /// <summary>Publishes a disk.</summary>
    public static ValueTask<DiskExport> PublishAsync(
        MountedDisks mounted, Disk disk, ListenRequest request, CancellationToken cancellationToken)
    {
        NbdUri uri = NbdUri.Parse(request.ListenUri);
        return mounted.Exports.PublishAsync(
            disk,
            new ExportOptions
            {
                ListenUri = uri,
                Name = request.ExportName,
                IsReadOnly = request.IsReadOnly,
                IsSnapshotOnly = request.IsSnapshotOnly,
                Tls = TlsLoading.Server(request.Tls),
                AllowInsecure = request.AllowsInsecure,
                SocketMode = request.SocketMode,
                SocketGroup = request.SocketGroup,
            },
            cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<ExportInfo> PublishAsync(DiskReference disk, ListenRequest request, CancellationToken cancellationToken) =>
        (await PublishAsync(mounted, mounted.Find(disk), request, cancellationToken).ConfigureAwait(false)).Describe();

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<ExportInfo>> ListExportsAsync(CancellationToken cancellationToken) =>
        new([.. mounted.Exports.All.Select(export => export.Describe())]);

    /// <inheritdoc/>
    public async ValueTask<ExportInfo> UnpublishAsync(ExportReference export, bool isForced, CancellationToken cancellationToken)
    {
        DiskExport found = mounted.Exports.Find(export);
        ExportInfo before = found.Describe();
        if (before.GuestCount != 0 && !isForced)
        {
            throw new BlockException(
                DiskErrors.DiskBusy,
                $"{before.GuestCount} client(s) use the disk '{before.Disk}' at '{found}'. Disconnect them first, or use -Force.");
        }

        await mounted.Exports.UnpublishAsync(found).ConfigureAwait(false);
        return before;
    }
}
