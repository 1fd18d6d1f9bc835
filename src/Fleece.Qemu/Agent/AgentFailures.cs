// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;

namespace Fleece.Qemu.Agent;

/// <summary>What can go wrong with a guest's agent, in words.</summary>
internal static class AgentFailures
{
    /// <summary>What an administrator does about a guest that stays frozen, as the end of a sentence.</summary>
    public const string ThawByHand = "run guest-fsfreeze-thaw (virsh domfsthaw, or fsfreeze -u in the guest).";

    private const string Without = "Leave out -QuiesceGuest to fleece the guest as a crash at the instant would leave it.";

    /// <summary>A duration in a sentence.</summary>
    public static string Text(TimeSpan time) => FormattableString.Invariant($"{time.TotalSeconds:0.###} s");

    /// <summary>Nothing listens, or this process may not connect.</summary>
    public static BlockException Unreachable(string path, SocketException cause) => Of(
        path,
        cause.SocketErrorCode switch
        {
            SocketError.AccessDenied =>
                $"This user may not connect to the guest agent's socket '{path}'. Run as the user of the guest's QEMU.",
            SocketError.ConnectionRefused or SocketError.AddressNotAvailable or SocketError.HostNotFound =>
                $"Nothing listens at the guest agent's socket '{path}'. Is the guest running, and is that the socket which its QEMU has " +
                $"for the agent? {Without}",
            _ => $"The guest agent's socket '{path}' can't be used: {cause.Message}.",
        },
        cause);

    /// <summary>No answer came.</summary>
    public static BlockException Silent(string path, TimeSpan time) => Of(
        path,
        $"The guest's agent at '{path}' did not answer within {Text(time)}. Either qemu-guest-agent does not run in the guest, or " +
        $"another program, such as libvirt, holds the socket: QEMU serves one client at a time. {Without}");

    /// <summary>The connection ended.</summary>
    public static BlockException Closed(string path, Exception? cause) => Of(
        path, $"The connection to the guest's agent at '{path}' has ended: the guest's QEMU has ended or closed it.", cause);

    /// <summary>The peer is something else.</summary>
    public static BlockException NotAnAgent(string path, string how) => Of(
        path, $"The peer at '{path}' does not speak the guest agent's protocol. {how} Name the agent's socket with -AgentSocketPath.");

    /// <summary>The agent refused a command.</summary>
    public static BlockException Refused(string path, string command, string reason) => Of(
        path, $"The guest's agent at '{path}' refused {command}: {reason.TrimEnd('.')}. {Without}");

    /// <summary>The agent can't freeze.</summary>
    public static BlockException Unable(string path, string command) => Of(
        path,
        $"The guest's agent at '{path}' has no {command}, or its administrator has disabled it (--block-rpcs and --allow-rpcs of " +
        $"qemu-ga). Enable it in the guest. {Without}");

    /// <summary>Another client's freeze lasts.</summary>
    public static BlockException FrozenBefore(string path) => Of(
        path,
        $"The guest's file systems are frozen already, by another client of the agent at '{path}' that may still need it. Wait for its " +
        $"end, or where it died, {ThawByHand}");

    /// <summary>An error.</summary>
    public static BlockException Of(string path, string message, Exception? cause = null) =>
        new(QemuErrors.AgentFailed, message, path, operation: "quiesce", cause: cause);
}
