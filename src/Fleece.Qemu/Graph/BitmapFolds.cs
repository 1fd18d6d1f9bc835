// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Folds the bitmaps of sessions that have ended without ending their bitmaps' turns, each node by itself: bitmaps of one disk
/// that QEMU refuses to change are in no other disk's way.</summary>
internal static class BitmapFolds
{
    /// <summary>Folds them.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="isLive">True for the instant of a session that goes on.</param>
    /// <param name="cancellationToken">Ends the attempt; the next call goes on.</param>
    /// <returns>Sentences for the user.</returns>
    public static async ValueTask<IReadOnlyList<string>> RunAsync(
        QemuMonitor monitor, Func<Guid, bool> isLive, CancellationToken cancellationToken)
    {
        List<string> sentences = [];
        bool hasFolded = false;
        foreach (QemuNodeReply node in await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
        {
            IReadOnlyList<JsonObject> fold = PendingBitmaps.Fold(node, isLive);
            if (fold.Count == 0)
            {
                continue;
            }

            if (await TryAsync(monitor, fold, cancellationToken).ConfigureAwait(false) is not { } refusal)
            {
                hasFolded = true;
            }
            else if (!node.IsReadOnly &&
                await TryAsync(monitor, PendingBitmaps.Drop(node, isLive), cancellationToken).ConfigureAwait(false) is null)
            {
                sentences.Add(
                    $"Bitmaps of the node '{node.Name}' of the guest at '{monitor.SocketPath}' that a session had divided could not be " +
                    $"made whole, so they were removed and the next backup is a full one. {refusal}");
            }
            else
            {
                sentences.Add(
                    $"A session has left divided bitmaps on the node '{node.Name}' of the guest at '{monitor.SocketPath}', and QEMU does " +
                    "not let them be changed" +
                    (node.IsReadOnly ? " while the node is read-only. They count again when it is written again, as after block-commit." :
                        $". {refusal}"));
            }
        }

        if (hasFolded)
        {
            sentences.Add(
                $"Bitmaps of the guest at '{monitor.SocketPath}' that a session had divided are whole again: its process or its QEMU " +
                "ended in the middle.");
        }

        return sentences;
    }

    // Null where all actions took effect; else QEMU's refusal.
    private static async ValueTask<string?> TryAsync(
        QemuMonitor monitor, IReadOnlyList<JsonObject> actions, CancellationToken cancellationToken)
    {
        try
        {
            await monitor.RunTransactionAsync(actions, cancellationToken).ConfigureAwait(false);
            return null;
        }
        catch (BlockException e) when (e.Kind == QemuErrors.CommandRefused)
        {
            return e.Message;
        }
    }
}
