// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The disks of a host.</summary>
internal sealed class RemoteDisks(HostClient client) : IDiskControl
{
    /// <inheritdoc/>
    public async ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken)
    {
        CertificatePaths.Check(request.Tls);
        foreach (ListenRequest listener in request.Listeners)
        {
            CertificatePaths.Check(listener.Tls);
        }

        if (request.DiscardsSessions)
        {
            await client.RequireAsync(HostProtocol.SessionsComeBack, "discard sessions", cancellationToken).ConfigureAwait(false);
        }

        return await client.ChangeAsync<DiskInfo>(nameof(MountAsync), new { request }, cancellationToken, async () =>
        {
            IReadOnlyList<DiskInfo> disks = await ListDisksAsync(CancellationToken.None).ConfigureAwait(false);
            return disks.FirstOrDefault(disk => disk.Path == request.Address) is { } disk
                ? $"It was done: the disk '{disk.Name}' is mounted."
                : $"It was not done: '{request.Address}' is not mounted.";
        }).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<DiskInfo>>(nameof(ListDisksAsync), new { }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync<DiskInfo>(nameof(FindDiskAsync), new { disk }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken) =>
        client.ChangeAsync<DiskInfo>(nameof(DismountAsync), new { disk, isForced }, cancellationToken, async () =>
        {
            try
            {
                await FindDiskAsync(disk, CancellationToken.None).ConfigureAwait(false);
                return $"It was not done: the disk '{disk}' is mounted.";
            }
            catch (BlockException e) when (HostChannel.IsGone(e))
            {
                return $"It was done: the disk '{disk}' is no longer mounted.";
            }
        });
}
