// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;

namespace Fleece.Disks.Records;

/// <summary>A dirty bitmap as it was when it was asked for.</summary>
public sealed record BitmapInfo
{
    // For a record that comes from a host.
    private BitmapInfo()
    {
    }

    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUntrusted"/>: the ranges are asked for, and may miss changes.
    /// </exception>
    internal BitmapInfo(Bitmap bitmap, bool withRanges = false)
    {
        Name = bitmap.Name;
        Disk = bitmap.Disk.Name;
        ImagePath = bitmap.ImagePath;
        IsOfParent = bitmap.IsOfParent;
        State = bitmap.State;
        Reason = bitmap.Reason;
        GranularityBytes = bitmap.GranularityBytes;
        DirtyBytes = bitmap.DirtyBytes;
        SizeBytes = bitmap.SizeBytes;
        Session = bitmap.Session;
        BaselineId = bitmap.BaselineId;
        IsPersistent = bitmap.IsPersistent;
        Ranges = withRanges ? new RecordList<BlockRange>(bitmap.GetDirtyRanges()) : null;
        BitmapId = bitmap.Id;
        MountId = bitmap.Disk.MountId;
    }

    /// <summary>Its name, printable, unique on its disk.</summary>
    public string Name { get; private init; } = string.Empty;

    /// <summary>The disk's name.</summary>
    public string Disk { get; private init; } = string.Empty;

    /// <summary>The image that keeps it: the disk's own, or the parent that it is a record of. Printable.</summary>
    public string ImagePath { get; private init; } = string.Empty;

    /// <summary>True for a record of a parent image.</summary>
    public bool IsOfParent { get; private init; }

    /// <summary>Whether it records, and whether a session uses it.</summary>
    public BitmapState State { get; private init; }

    /// <summary>Why it can't be trusted; null when it can.</summary>
    public string? Reason { get; private init; }

    /// <summary>Bytes of the disk for one bit.</summary>
    public long GranularityBytes { get; private init; }

    /// <summary>Bytes of the disk that may have changed; 0 for one that is not trusted.</summary>
    public long DirtyBytes { get; private init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; private init; }

    /// <summary>The session that pinned it or that it belongs to, as "DISK/NAME"; null for none.</summary>
    public string? Session { get; private init; }

    /// <summary>The instant that its bits count from: that of the last session of it that ended with success. Null before the first, and
    /// for a bitmap that was cleared or disabled since.</summary>
    public Guid? BaselineId { get; private init; }

    /// <summary>True when it survives the dismount.</summary>
    public bool IsPersistent { get; private init; }

    /// <summary>The ranges that may have changed, in order; null where they were not asked for.</summary>
    public IReadOnlyList<BlockRange>? Ranges { get; private init; }

    /// <summary>The identity of this bitmap while the disk is mounted; another one when a bitmap of its name is made again.</summary>
    public Guid BitmapId { get; private init; }

    /// <summary>The identity of the disk's mount.</summary>
    public Guid MountId { get; private init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
