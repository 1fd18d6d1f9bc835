// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks;
using Fleece.Disks.Names;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Bitmaps;

/// <summary>What a session does with the bitmaps of a guest's disk: it pins one, and lets another record from its instant on.</summary>
/// <remarks>
/// <para>The steps, each one transaction of QEMU, and what is left where a process or QEMU ends after each:</para>
/// <code>
/// at the instant   NAME@I+ records, the pinned one keeps still      merged by the next command, as if no session had been
/// succeeded        NAME@I has what NAME@I+ recorded, and records; NAME@I+ and the pinned one are gone
/// failed           the pinned one has its bits and those of NAME@I+, and records; NAME@I+ is gone
/// </code>
/// <para>A bitmap that is to record is enabled before another is merged into it or removed, so a write between two actions is in both.
/// </para>
/// </remarks>
internal sealed class QemuBitmapTurn
{
    private readonly QemuBitmapName? _pending;

    private QemuBitmapTurn(QemuBitmapName? pending) => _pending = pending;

    /// <summary>The bitmap that the session pinned, as it was before; null for none.</summary>
    public GuestBitmap? Pinned { get; private init; }

    /// <summary>The name that the user gave to the bitmap that records from the instant on; null for none.</summary>
    public string? NextName { get; private init; }

    /// <summary>The instant that the pinned bitmap counts from; null for none, and for one that is disabled and may have missed changes.
    /// </summary>
    public Guid? BaselineId => Pinned is { IsEnabled: true } ? Pinned.Parsed.InstantId : null;

    /// <summary>The bitmap, by QEMU's name, that limits the snapshot: it counts from a backup, or records nothing and is only looked at.
    /// Null where the snapshot shows the whole disk.</summary>
    public string? LimitedBy => Pinned is { IsEnabled: false } or { Parsed.InstantId: not null } ? Pinned.ExactName : null;

    /// <summary>The actions at the instant.</summary>
    public IReadOnlyList<JsonObject> AtInstant { get; private init; } = [];

    /// <summary>Checks the names. Null when the session has no bitmap.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/>, <see cref="DiskErrors.BitmapBusy"/>,
    /// <see cref="DiskErrors.BitmapUntrusted"/>, <see cref="DiskErrors.BitmapNameInUse"/>, <see cref="BlockErrors.InvalidArgument"/>,
    /// <see cref="BlockErrors.ReadOnly"/></exception>
    public static QemuBitmapTurn? Prepare(GuestBitmaps bitmaps, Guid instantId, string? pinnedName, string? nextName)
    {
        if (pinnedName is null && nextName is null)
        {
            return null;
        }

        GuestBitmap? pinned = pinnedName is null ? null : bitmaps.Find(pinnedName);
        pinned?.CheckFree();
        pinned?.CheckTrusted();
        if (nextName is not null)
        {
            bitmaps.CheckNew(nextName);
            if (pinned is { IsEnabled: false })
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"The bitmap '{pinned.Name}' is disabled, so it has missed changes already and '{nextName}' can't succeed it. Leave " +
                    "-NextBitmap out, or -Bitmap for a full backup.");
            }
        }

        if (pinned is { IsEnabled: false })
        {
            return new QemuBitmapTurn(pending: null) { Pinned = pinned };
        }

        if (pinned is not null)
        {
            bitmaps.CheckLength(pinned.Parsed.Name);
            bitmaps.CheckFoldable(pinned);
        }

        QemuBitmapName pending = new(pinned?.Parsed.Name ?? nextName!, instantId, IsPending: true);
        JsonObject add = BitmapActions.Add(
            bitmaps.Node,
            pending.ToString(),
            bitmaps.IsPersistent,
            pinned?.Reply.GranularityBytes ?? DirtyBitmap.DefaultGranularityBytes);
        return new QemuBitmapTurn(pending)
        {
            Pinned = pinned,
            NextName = nextName,
            AtInstant = pinned is null ? [add] : [add, BitmapActions.Disable(bitmaps.Node, pinned.ExactName)],
        };
    }

    /// <summary>The actions that end the turn.</summary>
    /// <param name="now">The node with the bitmaps as it is now, in this QEMU or in one that was started since; null where there is
    /// none.</param>
    /// <param name="isSuccess">True when what was to be read has been read.</param>
    /// <returns>The actions, and whether the bitmap counts from the instant when they have been run.</returns>
    public (IReadOnlyList<JsonObject> Actions, bool Counts) End(QemuNodeReply? now, bool isSuccess)
    {
        // Of an image that an overlay lies over, QEMU lets no bitmap be changed. The next command that can folds them.
        if (now is null or { IsReadOnly: true } || _pending is null || Find(now, _pending.ToString()) is not { } pending)
        {
            return ([], false);
        }

        if (!isSuccess || pending.IsInconsistent)
        {
            return (PendingBitmaps.Fold(now, id => id != _pending.InstantId), false);
        }

        string name = (_pending with { IsPending = false }).ToString();
        List<JsonObject> actions =
        [
            BitmapActions.Add(now.Name, name, pending.IsPersistent, pending.GranularityBytes),
            BitmapActions.Merge(now.Name, name, [pending.Name]),
            BitmapActions.Remove(now.Name, pending.Name),
        ];
        if (Pinned is not null && Find(now, Pinned.ExactName) is { } pinned)
        {
            actions.Add(BitmapActions.Remove(now.Name, pinned.Name));
        }

        return (actions, true);
    }

    private static QemuBitmapReply? Find(QemuNodeReply node, string name) =>
        node.Bitmaps.FirstOrDefault(bitmap => bitmap.Name == name);
}
