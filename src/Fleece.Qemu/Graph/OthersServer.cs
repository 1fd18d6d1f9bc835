// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>An NBD server of the guest's QEMU that others have started. A session adds its exports and takes them away again.</summary>
internal static class OthersServer
{
    private static readonly NbdNodeOptions Once = new() { MaximumConnections = 1, ReconnectTimeout = TimeSpan.Zero };

    /// <summary>Makes sure that an address is the server's, by reading an export of the empty temp node there. QEMU can't be asked for the
    /// address, and a wrong one has to be found before the instant.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Unsupported"/>: with TLS. <see cref="BlockErrors.InvalidArgument"/>: the
    /// server does not run, or is not at the address.</exception>
    public static async ValueTask CheckAsync(QemuMonitor monitor, Guid instantId, NbdUri uri, CancellationToken cancellationToken)
    {
        if (uri.IsTls)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{uri}' is a server with TLS, for which a session of a guest has no certificates. Let QEMU's NBD server listen without " +
                "TLS at a unix socket, or end it for the time of the session.");
        }

        string name = FleecingGraph.RandomName();
        JsonObject options = new()
        {
            ["type"] = "nbd",
            ["id"] = NodeNames.Of(instantId, 0, Parts.Probe),
            ["node-name"] = NodeNames.Of(instantId, 0, Parts.Temp),
            ["name"] = name,
        };
        try
        {
            await monitor.AddExportAsync(options, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (QmpRefusal.Says(e, "NBD server not running"))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The QEMU at '{monitor.SocketPath}' has no NBD server that runs, so nothing can be added to '{uri}'. Leave " +
                "-NbdServerUri out.",
                monitor.SocketPath,
                cause: e);
        }

        try
        {
            NbdNode node = await NbdNode.ConnectAsync(uri.WithExport(name), Once, cancellationToken).ConfigureAwait(false);
            await node.DisposeAsync().ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The NBD server of the QEMU at '{monitor.SocketPath}' does not answer at '{uri}': {e.Message} Name the address that it " +
                "listens at with -NbdServerUri.",
                monitor.SocketPath,
                cause: e);
        }

        await new SessionRemoval(monitor, NodeNames.SessionOf(instantId)).EndExportsAsync(null, cancellationToken).ConfigureAwait(false);
    }
}
