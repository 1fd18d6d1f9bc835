// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>The process at the other end of a control connection, as the kernel knows it.</summary>
/// <param name="UserId">Its effective user when it connected.</param>
/// <param name="ProcessId">The process that connected; 0 where it is of another PID namespace.</param>
/// <param name="GroupIds">Its effective group and its supplementary groups when it connected.</param>
internal sealed record Peer(uint UserId, int ProcessId, IReadOnlyList<uint> GroupIds)
{
    // SOL_SOCKET and SO_PEERGROUPS of include/uapi/asm-generic/socket.h; Linux 4.13 and later.
    private const int SocketLevel = 1;
    private const int PeerGroupsOption = 59;

    // NGROUPS_MAX of include/uapi/linux/limits.h.
    private const int MaximumGroups = 65536;

    private const int UsualGroups = 64;

    /// <summary>The user's name.</summary>
    public string User { get; } = SystemUsers.NameOf(UserId);

    /// <summary>Asks the kernel.</summary>
    /// <inheritdoc cref="PeerCredentials.Of" path="/exception"/>
    public static Peer Of(Socket socket)
    {
        SocketPeer peer = PeerCredentials.Of(socket);
        return new Peer(peer.UserId, peer.ProcessId, [peer.GroupId, .. SupplementaryGroups(socket)]);
    }

    /// <summary>The user's name and the process, for messages.</summary>
    public override string ToString() => $"user {User}, process {ProcessId}";

    private static uint[] SupplementaryGroups(Socket socket)
    {
        for (int room = UsualGroups; ; room = MaximumGroups)
        {
            byte[] groups = new byte[room * sizeof(uint)];
            try
            {
                int lengthBytes = socket.GetRawSocketOption(SocketLevel, PeerGroupsOption, groups);
                return MemoryMarshal.Cast<byte, uint>(groups.AsSpan(0, lengthBytes)).ToArray();
            }
            catch (SocketException) when (room < MaximumGroups)
            {
                // ERANGE: the user is in more groups than there is room for.
            }
        }
    }
}
