// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Puts an overlay, which another tool has laid over a filter, over the node below the filter.</summary>
/// <remarks>
/// "blockdev-snapshot-sync" of a device, and not of its node, during a session makes such an overlay. Its header then names the filter as
/// the format of its backing file, which QEMU can't open when the guest is started the next time. A "block-stream" down to the node below
/// the filter has no data to copy. At its end QEMU makes that node the overlay's backing node and writes its format into the header.
/// </remarks>
internal static class OverlayRebase
{
    /// <summary>Starts the job that does it.</summary>
    /// <exception cref="BlockException">QEMU's refusal, with what to do.</exception>
    public static async ValueTask RunAsync(
        QemuMonitor monitor, string overlay, string below, string jobId, CancellationToken cancellationToken)
    {
        try
        {
            await monitor.RunAsync(
                "block-stream",
                new JsonObject { ["device"] = overlay, ["base-node"] = below, ["job-id"] = jobId },
                cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.CommandRefused)
        {
            IReadOnlyList<QemuNodeReply> nodes = await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false);
            QemuNodeReply? image = nodes.FirstOrDefault(node => node.Name == below);
            string? path = nodes.FirstOrDefault(node => node.Name == overlay)?.FilePath;
            throw new BlockException(
                e.Kind,
                $"Another tool has laid '{path ?? overlay}' over the filter of a session, and QEMU can't take the filter out from under " +
                $"it: {e.Message} Before the guest is started anew, shut it down and run: qemu-img rebase -u " +
                $"-F {image?.Driver ?? "FORMAT"} -b '{image?.FilePath ?? "FILE"}' '{path ?? "OVERLAY"}'. Without that QEMU " +
                "can't open the overlay.",
                path,
                cause: e);
        }
    }
}
