// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Disks.Names;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Bitmaps;

/// <summary>Ends the turn of bitmaps whose session ended without success, or with its process: "NAME@INSTANT+" goes back into the
/// bitmap that the session pinned.</summary>
internal static class PendingBitmaps
{
    /// <summary>The actions for one "transaction" that fold the pending bitmaps of a node. Empty where there is nothing to fold.</summary>
    /// <remarks>
    /// <para>The pinned bitmap gets what was recorded since the instant, and records again. Without one, the pending
    /// bitmap goes: the backup
    /// that it would follow does not exist.</para>
    /// <para>A pending bitmap that is inconsistent has lost changes that the pinned one needs. Both go then, so that the next backup is a
    /// full one. Of an inconsistent pinned bitmap the same is true.</para>
    /// </remarks>
    /// <param name="node">The node with the bitmaps.</param>
    /// <param name="isLive">True for the instant of a session that goes on; its bitmaps stay.</param>
    public static IReadOnlyList<JsonObject> Fold(QemuNodeReply node, Func<Guid, bool> isLive)
    {
        List<JsonObject> actions = [];
        (QemuBitmapReply Bitmap, QemuBitmapName Name)[] bitmaps =
            [.. node.Bitmaps.Select(bitmap => (bitmap, QemuBitmapName.Parse(bitmap.Name)))];
        foreach (IGrouping<string, (QemuBitmapReply Bitmap, QemuBitmapName Name)> ended in bitmaps
            .Where(item => item.Name is { IsPending: true, InstantId: { } id } && !isLive(id))
            .GroupBy(item => item.Name.Name, StringComparer.Ordinal))
        {
            QemuBitmapReply? pinned = PinnedOf(ended.Key, bitmaps);
            if (pinned is { IsInconsistent: false } && ended.All(item => !item.Bitmap.IsInconsistent))
            {
                actions.AddRange(Unite(node.Name, pinned.Name, [.. ended.Select(item => item.Bitmap.Name)]));
                continue;
            }

            if (pinned is not null)
            {
                actions.Add(BitmapActions.Remove(node.Name, pinned.Name));
            }

            actions.AddRange(ended.Select(item => BitmapActions.Remove(node.Name, item.Bitmap.Name)));
        }

        return actions;
    }

    /// <summary>The actions that give a pinned bitmap what was recorded since the instant, and let it record again.</summary>
    /// <remarks>It is enabled first: a write of the guest that comes between two actions is then in both.</remarks>
    /// <param name="node">The node.</param>
    /// <param name="pinned">The pinned bitmap; null for none.</param>
    /// <param name="pending">What recorded for it, which goes.</param>
    public static IReadOnlyList<JsonObject> Unite(string node, string? pinned, IReadOnlyList<string> pending)
    {
        List<JsonObject> actions = [];
        if (pinned is not null)
        {
            actions.Add(BitmapActions.Enable(node, pinned));
            actions.Add(BitmapActions.Merge(node, pinned, pending));
        }

        actions.AddRange(pending.Select(name => BitmapActions.Remove(node, name)));
        return actions;
    }

    // A session stops the bitmap that it pins, so of several with the name it is one that does not record.
    private static QemuBitmapReply? PinnedOf(string name, (QemuBitmapReply Bitmap, QemuBitmapName Name)[] bitmaps) => bitmaps
        .Where(item => !item.Name.IsPending && item.Name.Name == name && !item.Bitmap.IsRecording)
        .OrderByDescending(item => item.Name.InstantId is not null)
        .Select(item => item.Bitmap)
        .FirstOrDefault();
}
