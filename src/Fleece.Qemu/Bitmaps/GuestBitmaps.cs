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
/// ends. The bitmaps of dead processes were folded before.</para>
/// <para>Names are found as QEMU has them, or else without the baseline, or else without regard to case. QEMU may have NAME beside
/// NAME@INSTANT: a mount of the image in Fleece makes NAME, because NAME@INSTANT counts for backups over QMP alone. NAME means the one
/// with the instant then, which has recorded all the time, and the other stays as it is.</para>
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
        .Select(bitmap => new GuestBitmap(diskName, node, bitmap.Reply, bitmap.Parsed, SuccessorOf(bitmap.Reply, bitmap.Parsed)))
        .OrderBy(bitmap => bitmap.Name, StringComparer.OrdinalIgnoreCase)];

    /// <summary>The bitmap of that name.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/>; <see cref="DiskErrors.BitmapNameInUse"/> where several
    /// count from different instants.</exception>
    public GuestBitmap Find(string name)
    {
        GuestBitmap[] all = [.. All];
        return Array.Find(all, bitmap => bitmap.ExactName == name && bitmap.Parsed.InstantId is not null)
            ?? Choose(Array.FindAll(all, bitmap => bitmap.Parsed.Name == name || bitmap.Name == name))
            ?? Choose(Array.FindAll(all, bitmap => IsCalled(bitmap.Parsed, name)))
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
        if (bitmap.Parsed.InstantId is null)
        {
            return new BitmapChange(bitmap.ExactName, Empty(bitmap));
        }

        string name = bitmap.Parsed.Name;
        JsonObject remove = BitmapActions.Remove(node.Name, bitmap.ExactName);
        GuestBitmap[] others = [.. All.Where(other => other.Parsed.Name == name && other.ExactName != bitmap.ExactName)];
        if (Array.Exists(others, other => other.Parsed.InstantId is not null))
        {
            throw SeveralInstants([bitmap, .. others]);
        }

        // A mount of the image has made the other one, which takes the place.
        if (others is [{ } plain])
        {
            plain.CheckFree();
            return new BitmapChange(name, [[remove], .. Empty(plain)]);
        }

        return new BitmapChange(name, [[BitmapActions.Add(node.Name, name, isPersistent, bitmap.Reply.GranularityBytes), remove]]);
    }

    /// <summary>Plans that a bitmap is gone.</summary>
    /// <param name="exactName">Its name in QEMU.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/>, <see cref="DiskErrors.BitmapBusy"/></exception>
    public BitmapChange Remove(string exactName)
    {
        GuestBitmap bitmap = All.FirstOrDefault(bitmap => bitmap.ExactName == exactName) ?? Find(exactName);
        bitmap.CheckFree();
        return new BitmapChange(bitmap.ExactName, [[BitmapActions.Remove(node.Name, bitmap.ExactName)]]);
    }

    /// <summary>Refuses a bitmap beside which another one of its name counts from an instant and is stopped: the fold of what a dead
    /// process left could not tell which of them its session had pinned.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapNameInUse"/></exception>
    public void CheckFoldable(GuestBitmap bitmap)
    {
        GuestBitmap[] stopped = [.. All.Where(other =>
            other.Parsed.Name == bitmap.Parsed.Name && other.ExactName != bitmap.ExactName &&
            other is { Parsed.InstantId: not null, Reply.IsRecording: false })];
        if (stopped.Length > 0)
        {
            throw SeveralInstants([bitmap, .. stopped]);
        }
    }

    private GuestBitmap? Choose(GuestBitmap[] found)
    {
        GuestBitmap[] counting = Array.FindAll(found, bitmap => bitmap.Parsed.InstantId is not null);
        return counting.Length > 1 ? throw SeveralInstants(counting) : counting.Concat(found).FirstOrDefault();
    }

    private BlockException SeveralInstants(GuestBitmap[] bitmaps) => new(
        DiskErrors.BitmapNameInUse,
        $"The disk '{diskName}' has several bitmaps for the name '{bitmaps[0].Name}', which count from different instants: " +
        string.Join(", ", bitmaps.Select(bitmap => $"'{PrintableText.Of(bitmap.ExactName)}'")) +
        $". Remove those that no backup counts with, with QMP's block-dirty-bitmap-remove (node '{PrintableText.Of(node.Name)}').");

    private IReadOnlyList<IReadOnlyList<JsonObject>> Empty(GuestBitmap bitmap)
    {
        string name = bitmap.ExactName;

        // QEMU lets one that is inconsistent be removed and nothing else, and its name is free when that is done.
        return bitmap.Reply.IsInconsistent
            ? [[BitmapActions.Remove(node.Name, name)], [BitmapActions.Add(node.Name, name, isPersistent, bitmap.Reply.GranularityBytes)]]
            : [[BitmapActions.Enable(node.Name, name), BitmapActions.Clear(node.Name, name)]];
    }

    private static bool IsCalled(QemuBitmapName bitmap, string name) =>
        string.Equals(PrintableText.Of(bitmap.Name), PrintableText.Of(name), StringComparison.OrdinalIgnoreCase);

    private QemuBitmapReply? SuccessorOf(QemuBitmapReply reply, QemuBitmapName parsed) =>
        !PendingBitmaps.FindPinned(node, parsed.Name).Contains(reply)
        ? null
        : _pending.FirstOrDefault(pending => pending.Parsed.Name == parsed.Name).Reply;
}

/// <summary>A change of a disk's bitmaps.</summary>
/// <param name="ExactName">QEMU's name of the bitmap afterwards.</param>
/// <param name="Transactions">What is run, one after the other.</param>
internal sealed record BitmapChange(string ExactName, IReadOnlyList<IReadOnlyList<JsonObject>> Transactions);
