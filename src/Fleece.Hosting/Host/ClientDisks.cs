// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Images;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about disks.</summary>
internal sealed class ClientDisks(ConnectedClient client, ServedDisks disks, HostAccess access) : IDiskControl
{
    /// <inheritdoc/>
    /// <remarks>An image of another user than the host's is opened by the rules for strangers' images.</remarks>
    public ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken) => client.ChangeAsync(
        new AuditedAction(
            "disk.mount", $"mount {request.Address}{(request.Name is null ? string.Empty : $" as {request.Name}")}", request.Address),
        (_, token) => request.IsUntrusted || access.IsOwner(client.Peer)
            ? disks.MountAsync(request, token)
            : MountOfMemberAsync(request, token),
        cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken) =>
        client.AskAsync(disks.Owner.Disks.ListDisksAsync, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync(token => disks.FindAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken) => client.ChangeAsync(
        new AuditedAction("disk.dismount", $"dismount {disk}{(isForced ? " by force" : string.Empty)}", disk.Name),
        (_, token) => disks.DismountAsync(disk, isForced, token),
        cancellationToken);

    // The member gave no -Untrusted, so advice to leave it out would lead nowhere.
    private async ValueTask<DiskInfo> MountOfMemberAsync(MountRequest request, CancellationToken cancellationToken)
    {
        string owners = $"root or the user '{SystemUsers.NameOf(access.OwnerId)}'";
        string rule =
            $"The Fleece host opens all images that members of its group mount as with -Untrusted; {owners} can mount others.";
        if (request.AllowsOutsideDataFile)
        {
            throw new BlockException(
                ImageErrors.ReferenceRefused,
                $"'{request.Address}' was not mounted: -Untrusted refuses data files, so -AllowOutsideDataFile can't be had. {rule}",
                request.Address,
                operation: "open");
        }

        try
        {
            return await disks.MountAsync(request with { IsUntrusted = true }, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind is ImageErrors.ReferenceRefused or ImageErrors.LimitExceeded)
        {
            string message = e.Message.Replace(
                UntrustedLimits.TrustAdvice, $"Have {owners} mount it if you trust the image", StringComparison.Ordinal);
            throw new BlockException(e.Kind, $"{message} {rule}", e.Path, e.OffsetBytes, e.Operation, e);
        }
    }
}
