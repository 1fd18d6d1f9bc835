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
    /// <para>The pinned bitmap gets what was recorded since the instant, and records again, whether or not another tool has enabled it
    /// meanwhile. Without one, the pending bitmap goes: the backup that it would follow does not exist.</para>
    /// <para>A pending bitmap that is inconsistent has lost changes that the pinned one needs. Both go then, so that the next backup is a
    /// full one. The same is true of a pinned bitmap that is inconsistent, or that can't be told from another of its name.</para>
    /// </remarks>
    /// <param name="node">The node with the bitmaps.</param>
    /// <param name="isLive">True for the instant of a session that goes on; its bitmaps stay.</param>
    public static IReadOnlyList<JsonObject> Fold(QemuNodeReply node, Func<Guid, bool> isLive) =>
        [.. Ended(node, isLive).SelectMany(ended => ended.IsWhole ? Unite(node.Name, ended) : Drop(node.Name, ended))];

    /// <summary>The actions where QEMU refuses those of <see cref="Fold"/>: pending bitmaps and those they belong to go, so that the next
    /// backup is a full one.</summary>
    public static IReadOnlyList<JsonObject> Drop(QemuNodeReply node, Func<Guid, bool> isLive) =>
        [.. Ended(node, isLive).SelectMany(ended => Drop(node.Name, ended))];

    /// <summary>The bitmaps of a user's name that a session may have pinned: one, but where a client of QEMU has added another.</summary>
    /// <remarks>One that counts from an instant is Fleece's, so it comes before one that has the bare name. Another client may have let it
    /// record meanwhile.</remarks>
    public static IReadOnlyList<QemuBitmapReply> FindPinned(QemuNodeReply node, string name)
    {
        (QemuBitmapReply Bitmap, QemuBitmapName Name)[] called =
            [.. Parse(node).Where(item => !item.Name.IsPending && item.Name.Name == name)];
        bool areCounting = Array.Exists(called, item => item.Name.InstantId is not null);
        return [.. called.Where(item => item.Name.InstantId is not null == areCounting).Select(item => item.Bitmap)];
    }

    private static IEnumerable<EndedTurn> Ended(QemuNodeReply node, Func<Guid, bool> isLive) =>
        Parse(node)
            .Where(item => item.Name is { IsPending: true, InstantId: { } id } && !isLive(id))
            .GroupBy(item => item.Name.Name, item => item.Bitmap, StringComparer.Ordinal)
            .Select(pending => new EndedTurn(FindPinned(node, pending.Key), [.. pending]));

    // A bitmap that is to record is enabled first: a write of the guest that comes between two actions is then in both.
    private static IEnumerable<JsonObject> Unite(string node, EndedTurn ended)
    {
        string[] pending = [.. ended.Pending.Select(bitmap => bitmap.Name)];
        return
        [
            .. ended.Pinned.SelectMany(
                pinned => new[] { BitmapActions.Enable(node, pinned.Name), BitmapActions.Merge(node, pinned.Name, pending) }),
            .. pending.Select(name => BitmapActions.Remove(node, name)),
        ];
    }

    private static IEnumerable<JsonObject> Drop(string node, EndedTurn ended) =>
        ended.Pinned.Concat(ended.Pending).Select(bitmap => BitmapActions.Remove(node, bitmap.Name));

    private static IEnumerable<(QemuBitmapReply Bitmap, QemuBitmapName Name)> Parse(QemuNodeReply node) =>
        node.Bitmaps.Select(bitmap => (bitmap, QemuBitmapName.Parse(bitmap.Name)));

    // The bitmaps of one name after a session that did not end its turn.
    private sealed record EndedTurn(IReadOnlyList<QemuBitmapReply> Pinned, IReadOnlyList<QemuBitmapReply> Pending)
    {
        public bool IsWhole => Pinned.Count <= 1 && Pinned.Concat(Pending).All(bitmap => !bitmap.IsInconsistent);
    }
}
