// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>Which users may use the host.</summary>
/// <param name="OwnerId">The user that the host runs as.</param>
/// <param name="GroupId">The group whose members may use it; null for none.</param>
/// <param name="GroupName">The group as it was given.</param>
internal sealed record HostAccess(uint OwnerId, uint? GroupId, string? GroupName)
{
    private const uint Root = 0;

    /// <summary>Refuses a group for a host of a user whose host the group's members trust no socket of.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void CheckGroup(uint ownerId, string? group)
    {
        if (group is not null && ownerId != Root && ownerId != SystemUsers.FindId(HostProtocol.User))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"-SocketGroup is for a host that root or the user '{HostProtocol.User}' runs, and this one runs as " +
                $"'{SystemUsers.NameOf(ownerId)}': other users, root included, would refuse its socket (HostSocketForeign). Leave " +
                $"-SocketGroup out, or start the host as root or as '{HostProtocol.User}'.");
        }
    }

    /// <summary>True where the peer has the rights of the host's own user; images of others are opened by the rules for strangers'.
    /// </summary>
    public bool IsOwner(Peer peer) => peer.UserId == Root || peer.UserId == OwnerId;

    /// <summary>Refuses users other than root, the host's own user, and the members of its group.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.AccessRefused"/></exception>
    public void Check(Peer peer)
    {
        if (IsOwner(peer) || (GroupId is { } group && peer.GroupIds.Contains(group)))
        {
            return;
        }

        (string members, string advice) = GroupName is null
            ? (string.Empty, "Start the host with -SocketGroup to let the members of a group use it.")
            : ($" and the members of the group '{GroupName}'", "Add the user to that group and log in again.");
        throw new BlockException(
            HostErrors.AccessRefused,
            $"The Fleece host lets root, the user '{SystemUsers.NameOf(OwnerId)}'{members} use it, and the user " +
            $"'{SystemUsers.NameOf(peer.UserId)}' is none of them. {advice}");
    }
}
