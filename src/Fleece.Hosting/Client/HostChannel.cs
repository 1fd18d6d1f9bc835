// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
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

    /// <summary>True for an error that says that a session or a disk is there no more, or is another one by now.</summary>
    public static bool IsGone(BlockException e) =>
        e.Kind is DiskErrors.SessionUnknown or DiskErrors.DiskUnknown or DiskErrors.RecordStale;

    /// <summary>Tells why a connection to a disk or a snapshot has ended: a host ends it with the disk or the session.</summary>
    /// <param name="name">The disk or the snapshot.</param>
    /// <param name="socketPath">The control socket.</param>
    /// <param name="loss">The error of the connection.</param>
    /// <param name="look">Asks the host for the disk or the session.</param>
    /// <param name="gone">The error that says that it is there no more.</param>
    public static async ValueTask<BlockException> ExplainAsync<T>(
        string name, string socketPath, BlockException loss, ValueTask<T> look, Func<ValueTask<BlockException>> gone)
    {
        try
        {
            await look.ConfigureAwait(false);
            return Lost(name, socketPath, loss);
        }
        catch (BlockException e) when (IsGone(e))
        {
            return await gone().ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            return Lost(name, socketPath, e);
        }
    }

    /// <summary>The host, or its connection to a disk or a snapshot, is gone.</summary>
    public static BlockException Lost(string name, string socketPath, BlockException cause) => new(
        NbdErrors.ConnectionLost,
        $"The connection to '{name}' of the Fleece host at '{socketPath}' is lost: {cause.Message}",
        operation: "read",
        cause: cause);
}
