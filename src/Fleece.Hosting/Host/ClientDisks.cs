// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about disks.</summary>
internal sealed class ClientDisks(ConnectedClient client, ServedDisks disks, HostAccess access) : IDiskControl
{
    /// <inheritdoc/>
    /// <remarks>An image of another user than the host's is opened by the rules for strangers' images.</remarks>
    public ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken) => client.ChangeAsync(
        $"mount {request.Address}{(request.Name is null ? string.Empty : $" as {request.Name}")}",
        (_, token) => disks.MountAsync(request with { IsUntrusted = request.IsUntrusted || !access.IsOwner(client.Peer) }, token),
        cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken) =>
        client.AskAsync(disks.Owner.Disks.ListDisksAsync, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync(token => disks.FindAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken) => client.ChangeAsync(
        $"dismount {disk}{(isForced ? " by force" : string.Empty)}",
        (_, token) => disks.DismountAsync(disk, isForced, token),
        cancellationToken);
}
