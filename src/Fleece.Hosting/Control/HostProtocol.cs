// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Rpc;

namespace Fleece.Hosting.Control;

/// <summary>What a host and its clients have agreed on before they talk.</summary>
internal static class HostProtocol
{
    /// <summary>The version of the protocol that this module speaks.</summary>
    public const int Version = 2;

    /// <summary>The version from which on sessions come back: hosts list lost ones, resume and remove them, and mounts can discard them.
    /// </summary>
    public const int SessionsComeBack = 2;

    /// <summary>The oldest version that it speaks as well: the one before, so that a host goes on while the module is updated.</summary>
    public const int OldestVersion = Version == 1 ? 1 : Version - 1;

    /// <summary>Where the host of a machine listens.</summary>
    public const string DefaultSocketPath = "/run/fleece/host.sock";

    /// <summary>The unit that <c>Install-FleeceHost</c> writes.</summary>
    public const string UnitPath = "/etc/systemd/system/fleece.service";

    /// <summary>The user that an installed host runs as.</summary>
    public const string User = "fleece";

    /// <summary>How long the lease of a client that has gone is kept for it.</summary>
    public static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(60);

    /// <summary>Longest request: a session's ranges, some 40 000 of them, are the longest that one has.</summary>
    public const int MaximumRequestBytes = 1024 * 1024;

    /// <summary>Longest answer: lists of many disks and of many ranges fit.</summary>
    public const int MaximumAnswerBytes = 16 * 1024 * 1024;

    /// <summary>Longest greeting, and longest request of which a host takes any number.</summary>
    public const int SmallRequestBytes = 4096;

    /// <summary>Most requests longer than that which a host works on at a time.</summary>
    public const int MaximumLargeRequests = 8;

    private const int MaximumCalls = 64;

    /// <summary>What a client takes from its host, and sends to it.</summary>
    public static readonly RpcLimits ClientLimits = new(MaximumAnswerBytes, MaximumCalls) { MaximumSentBytes = MaximumRequestBytes };

    /// <summary>What the connections of one host take together.</summary>
    public static RpcLimits NewHostLimits() => new(MaximumRequestBytes, MaximumCalls)
    {
        MaximumSentBytes = MaximumAnswerBytes,
        SmallMessageBytes = SmallRequestBytes,
        LargeRequests = new SemaphoreSlim(MaximumLargeRequests),
    };

    /// <summary>The version that both sides speak; null where there is none.</summary>
    /// <param name="newest">The other side's newest version.</param>
    /// <param name="oldest">Its oldest version.</param>
    public static int? Agree(int newest, int oldest) =>
        Math.Min(Version, newest) is var version && version >= Math.Max(OldestVersion, oldest) ? version : null;

    /// <summary>The refusal of a request that a host of an older version does not know.</summary>
    /// <param name="socketPath">The control socket.</param>
    /// <param name="module">The host's module version.</param>
    /// <param name="request">The request, as the end of a sentence.</param>
    public static BlockException NotInHost(string socketPath, string module, string request) => new(
        HostErrors.VersionMismatch,
        $"The Fleece host at '{socketPath}' is of version {module}, which can't {request}. Restart the host, so that it uses the newer " +
        "module (systemctl restart fleece).",
        socketPath,
        operation: "call");

    /// <summary>The refusal of sides that speak no common version; it says which side to bring up to date.</summary>
    /// <param name="socketPath">The control socket.</param>
    /// <param name="host">The host's module version and the newest version of the protocol that it speaks.</param>
    /// <param name="client">The client's.</param>
    public static BlockException Mismatch(string socketPath, (string Module, int Version) host, (string Module, int Version) client) => new(
        HostErrors.VersionMismatch,
        $"The Fleece host at '{socketPath}' is of version {host.Module} (protocol {host.Version}), and this PowerShell has version " +
        $"{client.Module} (protocol {client.Version}), which don't work together. " +
        (host.Version < client.Version
            ? "Restart the host, so that it uses the newer module (systemctl restart fleece)."
            : "Start a new PowerShell, and if that has the old version too, update the module there."),
        socketPath,
        operation: "connect");
}
