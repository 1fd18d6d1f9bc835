// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks;
using Fleece.Disks.Names;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Bitmaps;

/// <summary>The dirty bitmaps of a guest's disk, as QEMU described them a moment ago, and the actions that change them.</summary>
/// <remarks>
/// <para>Bitmaps of sessions that have not ended are not listed: they are the successors of others, or not there before the session
/// ends. What dead processes left was folded before.</para>
/// <para>Names are found as QEMU has them, or else without the baseline, or else without regard to case.</para>
/// </remarks>
/// <param name="diskName">The disk, for messages.</param>
/// <param name="node">The node that has them.</param>
/// <param name="isPersistent">True when the image keeps new ones over the end of QEMU.</param>
internal sealed class GuestBitmaps(string diskName, QemuNodeReply node, bool isPersistent)
{
    private readonly (QemuBitmapReply Reply, QemuBitmapName Parsed)[] _pending =
        [.. node.Bitmaps.Select(reply => (reply, QemuBitmapName.Parse(reply.Name))).Where(bitmap => bitmap.Item2.IsPending)];

    /// <summary>The disk, for messages.</summary>
    public string DiskName => diskName;

    /// <summary>The node's name.</summary>
    public string Node => node.Name;

    /// <summary>True when the image keeps new ones over the end of QEMU.</summary>
    public bool IsPersistent => isPersistent;

    /// <summary>The bitmaps, sorted by name.</summary>
    public IReadOnlyList<GuestBitmap> All => [.. node.Bitmaps
        .Select(reply => (Reply: reply, Parsed: QemuBitmapName.Parse(reply.Name)))
        .Where(bitmap => !bitmap.Parsed.IsPending)
        .Select(bitmap => new GuestBitmap(diskName, node.Name, bitmap.Reply, bitmap.Parsed, SuccessorOf(bitmap.Reply, bitmap.Parsed)))
        .OrderBy(bitmap => bitmap.Name, StringComparer.OrdinalIgnoreCase)];

    /// <summary>The bitmap of that name.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/></exception>
    public GuestBitmap Find(string name)
    {
        IReadOnlyList<GuestBitmap> all = All;
        return all.FirstOrDefault(bitmap => bitmap.ExactName == name)
            ?? all.FirstOrDefault(bitmap => bitmap.Parsed.Name == name || bitmap.Name == name)
            ?? all.FirstOrDefault(bitmap => IsCalled(bitmap.Parsed, name))
            ?? throw new BlockException(
                DiskErrors.BitmapUnknown,
                $"The disk '{diskName}' has no bitmap named '{name}'. Get-FleeceQemuDisk lists those it has. A bitmap that the image " +
                "does not keep ends with the guest's QEMU.");
    }

    /// <summary>Refuses a name for a new bitmap.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>, <see cref="DiskErrors.BitmapNameInUse"/>,
    /// <see cref="BlockErrors.ReadOnly"/></exception>
    public void CheckNew(string name)
    {
        BitmapNames.Check(name);
        CheckLength(name);
        QemuBitmapName.CheckNew(name);
        if (node.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"The guest can't write to the disk '{diskName}', so no bitmap of it records anything. Do without one.");
        }

        if (All.Any(bitmap => IsCalled(bitmap.Parsed, name)) || _pending.Any(bitmap => IsCalled(bitmap.Parsed, name)))
        {
            throw new BlockException(
                DiskErrors.BitmapNameInUse,
                $"The disk '{diskName}' has a bitmap named '{name}' already, or a session that makes one. Give another name, or remove " +
                "it first with QMP's block-dirty-bitmap-remove.");
        }
    }

    /// <summary>Refuses a name that has no room for the instant.</summary>
    public void CheckLength(string name)
    {
        int lengthBytes = Encoding.UTF8.GetByteCount(name);
        if (lengthBytes > QemuBitmapName.MaximumNameBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The name of a bitmap of the guest's disk '{diskName}' has at most {QemuBitmapName.MaximumNameBytes} bytes of UTF-8, " +
                $"because Fleece writes the instant behind it; this one has {lengthBytes} bytes. Give another one.");
        }
    }

    /// <summary>Plans a bitmap that records from then on.</summary>
    public BitmapChange Create(string name)
    {
        CheckNew(name);
        return new BitmapChange(name, [[BitmapActions.Add(node.Name, name, isPersistent, DirtyBitmap.DefaultGranularityBytes)]]);
    }

    /// <summary>Plans that a bitmap is empty, records, and counts from nothing.</summary>
    /// <param name="exactName">Its name in QEMU.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/>, <see cref="DiskErrors.BitmapBusy"/>,
    /// <see cref="DiskErrors.BitmapNameInUse"/></exception>
    public BitmapChange Restart(string exactName)
    {
        GuestBitmap bitmap = Find(exactName);
        bitmap.CheckFree();
        string name = bitmap.Parsed.Name;
        if (bitmap.Parsed.InstantId is not null)
        {
            CheckSingle(bitmap);
        }

        JsonObject add = BitmapActions.Add(node.Name, name, isPersistent, bitmap.Reply.GranularityBytes);
        JsonObject remove = BitmapActions.Remove(node.Name, bitmap.ExactName);
        return new BitmapChange(name, (bitmap.Parsed.InstantId, bitmap.Reply.IsInconsistent) switch
        {
            (not null, _) => [[add, remove]],

            // QEMU lets one that is inconsistent be removed and nothing else, and its name is free when that is done.
            (null, true) => [[remove], [add]],
            (null, false) => [[BitmapActions.Enable(node.Name, name), BitmapActions.Clear(node.Name, name)]],
        });
    }

    /// <summary>Refuses a bitmap of whose name there is another one: by the name alone it can't be told which of them a session had
    /// pinned.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapNameInUse"/></exception>
    public void CheckSingle(GuestBitmap bitmap)
    {
        if (All.Count(other => other.Parsed.Name == bitmap.Parsed.Name) > 1)
        {
            throw new BlockException(
                DiskErrors.BitmapNameInUse,
                $"The disk '{diskName}' has two bitmaps for the name '{bitmap.Name}', of which one has the instant that it counts from " +
                "behind it. Remove the one that is not Fleece's with QMP's block-dirty-bitmap-remove, or name another bitmap.");
        }
    }

    private static bool IsCalled(QemuBitmapName bitmap, string name) =>
        string.Equals(PrintableText.Of(bitmap.Name), PrintableText.Of(name), StringComparison.OrdinalIgnoreCase);

    private QemuBitmapReply? SuccessorOf(QemuBitmapReply reply, QemuBitmapName parsed) => reply.IsRecording
        ? null
        : _pending.FirstOrDefault(pending => pending.Parsed.Name == parsed.Name).Reply;
}

/// <summary>A change of a disk's bitmaps.</summary>
/// <param name="ExactName">QEMU's name of the bitmap afterwards.</param>
/// <param name="Transactions">What is run, one after the other.</param>
internal sealed record BitmapChange(string ExactName, IReadOnlyList<IReadOnlyList<JsonObject>> Transactions);
