// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Names;
using Fleece.Disks.Storage;

namespace Fleece.Disks.Bitmaps;

/// <summary>A named record of what guests changed on a disk since a moment.</summary>
/// <remarks>Threading. All members are safe from any thread; what changes does so under the disk's chain lock.</remarks>
internal sealed class Bitmap
{
    private volatile DirtyBitmap _bits;
    private volatile string? _reason;
    private volatile Holder? _holder;
    private volatile bool _isEnabled;

    internal Bitmap(DiskStorage disk, string name, DirtyBitmap bits, SidecarArea? area = null, bool isEnabled = true, string? reason = null)
    {
        Disk = disk;
        ExactName = name;
        Name = PrintableText.Of(name);
        _bits = bits;
        Area = area;
        _isEnabled = isEnabled;
        Reason = reason;
    }

    /// <summary>Its name, printable. <see cref="DiskBitmaps"/> finds it by this name.</summary>
    public string Name { get; }

    /// <summary>Its identity, until the disk is dismounted.</summary>
    public Guid Id { get; } = Guid.NewGuid();

    /// <summary>The disk, by its storage.</summary>
    public DiskStorage Disk { get; }

    /// <summary>The image that keeps it: the disk's own, or the parent that it is a record of. Printable.</summary>
    public string ImagePath => PrintableText.Of(ExactImagePath);

    /// <summary>True for a record of a parent image.</summary>
    public bool IsOfParent => ParentPath is not null;

    /// <summary>What it does now.</summary>
    public BitmapState State => Reason is not null ? BitmapState.Untrusted
        : IsOfParent ? BitmapState.OfParent
        : IsFrozen ? BitmapState.Frozen
        : _isEnabled ? BitmapState.Recording
        : BitmapState.Disabled;

    /// <summary>Why it can't be trusted; null when it can.</summary>
    public string? Reason
    {
        get => _reason ?? (IsOfParent ? null : Disk.Condition.BitmapFault);
        internal set => _reason = PrintableText.Of(value);
    }

    /// <summary>Bytes of the disk for one bit.</summary>
    public long GranularityBytes => _bits.GranularityBytes;

    /// <summary>Bytes of the disk that may have changed; 0 for one that is not trusted.</summary>
    public long DirtyBytes => _bits.DirtyBytes;

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => _bits.DiskLengthBytes;

    /// <summary>The session that pinned it or that it belongs to, as "DISK/NAME"; null for none.</summary>
    public string? Session => _holder?.SessionId;

    /// <summary>
    /// The instant that its bits count from: that of the last session of it that ended with success. Null before the first, and for
    /// a bitmap that was cleared or disabled since.
    /// </summary>
    public Guid? BaselineId { get; internal set; }

    /// <summary>True when it survives the dismount; false on a disk of an NBD server, beside which there is no file, unless its image has
    /// room for bitmaps.</summary>
    public bool IsPersistent => Disk.KeepsBitmaps;

    /// <summary>The ranges that may have changed, in order.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUntrusted"/></exception>
    public IEnumerable<BlockRange> GetDirtyRanges()
    {
        CheckTrusted();
        return _bits.DirtyRanges();
    }

    /// <summary>Its name.</summary>
    public override string ToString() => Name;

    internal BitmapDescription Describe() => new(Name, ExactName, IsOfParent ? ImagePath : null, BaselineId, IsEnabled, Reason);

    /// <summary>The name as it is stored, unique on its disk.</summary>
    internal string ExactName { get; }

    /// <summary>The bits; another object after it was cleared or replaced.</summary>
    internal DirtyBitmap Bits
    {
        get => _bits;
        set => _bits = value;
    }

    /// <summary>Where the bits are kept; null for nowhere.</summary>
    internal SidecarArea? Area { get; set; }

    internal bool IsEnabled
    {
        get => _isEnabled;
        set => _isEnabled = value;
    }

    /// <summary>True for one that QEMU made for the backups of a guest.</summary>
    internal bool IsOfGuest => QemuBitmapName.Parse(ExactName).InstantId is not null;

    /// <summary>The parent image that keeps it; null for the disk's own.</summary>
    internal string? ParentPath { get; init; }

    private string ExactImagePath => ParentPath ?? Disk.Path;

    /// <summary>Pinned: its successor records instead.</summary>
    internal bool IsFrozen { get; set; }

    /// <summary>A successor that the user did not name.</summary>
    internal bool IsHidden { get; init; }

    /// <summary>The session that began it has not ended.</summary>
    internal bool IsPending { get; set; }

    /// <summary>The pinned bitmap that it succeeds.</summary>
    internal Bitmap? Predecessor { get; set; }

    /// <summary>True when changes go into it.</summary>
    internal bool Records => _isEnabled && !IsFrozen && _reason is null && !IsWaiting;

    /// <summary>Its session's instant has not come yet.</summary>
    internal bool IsWaiting { get; set; }

    internal void HoldFor(string? sessionId) =>
        _holder = sessionId is null ? null : new Holder(sessionId, DateTimeOffset.UtcNow);

    internal void CheckTrusted()
    {
        if (Reason is { } reason)
        {
            throw new BlockException(
                DiskErrors.BitmapUntrusted,
                $"The bitmap '{Name}' of the disk '{Disk.Name}' can't be trusted. {reason} " +
                (IsOfParent
                    ? $"It is a record of the parent image '{ExactImagePath}'; do without it, and make the next backup a full one."
                    : $"{(IsOfGuest ? "Remove it with Remove" : "Clear it with Clear")}-FleeceBitmap, and make the next backup a full " +
                        "one."),
                ExactImagePath);
        }
    }

    /// <summary>Refuses what would make the name of a guest's bitmap untrue: QEMU takes from it which backup the bits count from, and
    /// would miss changes.</summary>
    internal void CheckNotOfGuest()
    {
        if (IsOfGuest)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The bitmap '{Name}' of the disk '{Disk.Name}' is one of the guest's backups over QMP, and its name says the instant " +
                "that its bits count from. So the mounted disk's writes go into it, and nothing else changes it here. Use another " +
                "bitmap, or back the guest up over QMP while its QEMU runs (Backup-FleeceDisk -QmpSocketPath). If no backup counts with " +
                "it any more, remove it with Remove-FleeceBitmap; the guest's next backup over QMP is then a full one.",
                Disk.Path);
        }
    }

    /// <summary>Refuses what would change a record of a parent.</summary>
    internal void CheckOwn()
    {
        if (IsOfParent)
        {
            throw OfParent(
                ", and nothing changes it through the disk.",
                "Make a bitmap of the disk with New-FleeceBitmap, and add the record to it with Merge-FleeceBitmap.");
        }
    }

    /// <summary>Refuses a record of a parent as what a snapshot is limited to: an increment would miss what changed since.</summary>
    internal void CheckPinnable()
    {
        if (IsOfParent)
        {
            throw OfParent(
                ": it says what changed there before this image was made over it, and misses what changed since, so no snapshot is " +
                "limited to it.",
                "Make a full backup; or, where a bitmap of the disk has recorded ever since, make another one with New-FleeceBitmap " +
                "-Disabled, merge both into that with Merge-FleeceBitmap, and pin it.");
        }
    }

    // A record that can't be trusted can't be merged either.
    private BlockException OfParent(string consequence, string advice) => new(
        DiskErrors.BitmapOfParent,
        $"The bitmap '{Name}' of the disk '{Disk.Name}' is a record of its parent image '{ExactImagePath}'{consequence} " +
        (Reason is not { } reason ? advice
            : $"It can't be trusted either: {reason} Do without it: make a bitmap of the disk with New-FleeceBitmap, and a full backup."),
        ExactImagePath);

    internal void CheckFree()
    {
        if (_holder is var (sessionId, since))
        {
            throw new BlockException(
                DiskErrors.BitmapBusy,
                $"The bitmap '{Name}' of the disk '{Disk.Name}' belongs to the session '{sessionId}', which began {since:u}, until that " +
                $"ends. Let the backup that reads it end, or stop it with Stop-FleeceSession {PowerShellText.Argument(sessionId)}.",
                Disk.Path);
        }
    }

    private sealed record Holder(string SessionId, DateTimeOffset Since);
}
