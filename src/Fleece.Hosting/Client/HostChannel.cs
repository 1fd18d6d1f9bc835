// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Hosting.Client;

/// <summary>How bytes of a host's disks are read and written over its private sockets.</summary>
internal static class HostChannel
{
    /// <summary>How many reads of a snapshot at a time serve it best.</summary>
    public const int ReadsAtOnce = 4;

    /// <summary>How to connect. A private socket ends with its lease and does not come back, so that a lost connection is not made anew.
    /// </summary>
    public static NbdNodeOptions Options { get; } = new() { MaximumConnections = 2, ReconnectTimeout = TimeSpan.Zero, ReadsKinds = true };

    /// <summary>True for an error that says that the host does not answer this process, or not any more.</summary>
    public static bool IsUnreachable(BlockException e) => e.Kind is
        HostErrors.NotRunning or HostErrors.CallInterrupted or HostErrors.Overloaded or HostErrors.AccessRefused or
        HostErrors.SocketForeign or HostErrors.VersionMismatch or BlockErrors.Closed;

    /// <summary>The host, or its connection to a disk or a snapshot, is gone.</summary>
    public static BlockException Lost(string name, string socketPath, BlockException cause) => new(
        NbdErrors.ConnectionLost,
        $"The connection to '{name}' of the Fleece host at '{socketPath}' is lost: {cause.Message}",
        operation: "read",
        cause: cause);
}
