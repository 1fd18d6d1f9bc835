// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Sessions.Bitmaps;

/// <summary>A named record of what guests changed on a disk since a moment.</summary>
/// <remarks>Threading. All members are safe from any thread; what changes does so under the disk's chain lock.</remarks>
public sealed class Bitmap
{
    private volatile DirtyBitmap _bits;
    private volatile string? _reason;
    private volatile string? _sessionId;
    private volatile bool _isEnabled;

    internal Bitmap(Disk disk, string name, DirtyBitmap bits, SidecarArea? area = null, bool isEnabled = true, string? reason = null)
    {
        Disk = disk;
        Name = name;
        _bits = bits;
        Area = area;
        _isEnabled = isEnabled;
        _reason = reason;
    }

    /// <summary>Its name, unique on its disk.</summary>
    public string Name { get; }

    /// <summary>The disk.</summary>
    public Disk Disk { get; }

    /// <summary>What it does now.</summary>
    public BitmapState State => Reason is not null ? BitmapState.Untrusted
        : IsFrozen ? BitmapState.Frozen
        : _isEnabled ? BitmapState.Recording
        : BitmapState.Disabled;

    /// <summary>Why it can't be trusted; null when it can.</summary>
    public string? Reason
    {
        get => _reason ?? Disk.Condition.BitmapFault;
        internal set => _reason = value;
    }

    /// <summary>Bytes of the disk for one bit.</summary>
    public long GranularityBytes => _bits.GranularityBytes;

    /// <summary>Bytes of the disk that may have changed; 0 for one that is not trusted.</summary>
    public long DirtyBytes => _bits.DirtyBytes;

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => _bits.DiskLengthBytes;

    /// <summary>The session that pinned it or that it belongs to, as "DISK/NAME"; null for none.</summary>
    public string? Session => _sessionId;

    /// <summary>
    /// The instant that its bits count from: that of the last session of it that ended with success. Null before the first, and for
    /// a bitmap that was cleared or disabled since.
    /// </summary>
    public Guid? BaselineId { get; internal set; }

    /// <summary>True when it survives the dismount; false on a disk of an NBD server, beside which there is no file.</summary>
    public bool IsPersistent => Disk.Bitmaps.IsPersistent;

    /// <summary>The ranges that may have changed, in order.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BitmapUntrusted"/></exception>
    public IEnumerable<BlockRange> GetDirtyRanges()
    {
        CheckTrusted();
        return _bits.DirtyRanges();
    }

    /// <summary>Its name; so a bitmap is accepted wherever its name is.</summary>
    public override string ToString() => Name;

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

    internal void HoldFor(string? sessionId) => _sessionId = sessionId;

    internal void CheckTrusted()
    {
        if (Reason is { } reason)
        {
            throw new BlockException(
                BlockErrorKind.BitmapUntrusted,
                $"The bitmap '{Name}' of the disk '{Disk.Name}' can't be trusted. {reason} Clear it with Clear-FleeceBitmap, and make " +
                "the next backup a full one.",
                Disk.Path);
        }
    }

    internal void CheckFree()
    {
        if (_sessionId is { } sessionId)
        {
            throw new BlockException(
                BlockErrorKind.BitmapBusy,
                $"The bitmap '{Name}' of the disk '{Disk.Name}' belongs to the session '{sessionId}' until that ends. Stop it first.",
                Disk.Path);
        }
    }
}
