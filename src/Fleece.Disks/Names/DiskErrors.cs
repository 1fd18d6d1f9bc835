// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>The kinds of errors that arise with disks, sessions, bitmaps and exports.</summary>
public static class DiskErrors
{
    /// <summary>The temp image is the disk itself.</summary>
    public const string TempIsDisk = nameof(TempIsDisk);

    /// <summary>No disk of that name is mounted.</summary>
    public const string DiskUnknown = nameof(DiskUnknown);

    /// <summary>A disk of that name is mounted already.</summary>
    public const string DiskNameInUse = nameof(DiskNameInUse);

    /// <summary>The disk still has sessions.</summary>
    public const string DiskBusy = nameof(DiskBusy);

    /// <summary>Others write to the disk as well, so it can have no point in time and no record of all changes.</summary>
    public const string DiskShared = nameof(DiskShared);

    /// <summary>No session of that name is running.</summary>
    public const string SessionUnknown = nameof(SessionUnknown);

    /// <summary>The session's process has ended, and it can't be resumed.</summary>
    public const string SessionLost = nameof(SessionLost);

    /// <summary>The disk has a session of that name already.</summary>
    public const string SessionNameInUse = nameof(SessionNameInUse);

    /// <summary>The name fits several sessions, or none was given and several run.</summary>
    public const string SessionAmbiguous = nameof(SessionAmbiguous);

    /// <summary>The session counts no consumer of that name, or several, of which none was named.</summary>
    public const string ConsumerUnknown = nameof(ConsumerUnknown);

    /// <summary>The disk has no bitmap of that name.</summary>
    public const string BitmapUnknown = nameof(BitmapUnknown);

    /// <summary>The disk has a bitmap of that name already.</summary>
    public const string BitmapNameInUse = nameof(BitmapNameInUse);

    /// <summary>A session uses the bitmap.</summary>
    public const string BitmapBusy = nameof(BitmapBusy);

    /// <summary>The bitmap may have missed changes; the message says why.</summary>
    public const string BitmapUntrusted = nameof(BitmapUntrusted);

    /// <summary>The bitmap is a record of a parent image, which nothing changes or pins through the child.</summary>
    public const string BitmapOfParent = nameof(BitmapOfParent);

    /// <summary>The file that keeps a disk's bitmaps, or the image's own table of them, can't be used.</summary>
    public const string BitmapStoreUnusable = nameof(BitmapStoreUnusable);

    /// <summary>A record is of an earlier thing than the one that has its name now.</summary>
    public const string RecordStale = nameof(RecordStale);

    /// <summary>The repository holds the backups of another disk.</summary>
    public const string BackupForeign = nameof(BackupForeign);

    /// <summary>The listener has an export of that name already.</summary>
    public const string ExportNameInUse = nameof(ExportNameInUse);
}
