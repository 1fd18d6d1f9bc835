// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>What went wrong, for decisions in code. <see cref="BlockErrorTable"/> maps each kind to what users see.</summary>
public enum BlockErrorKind
{
    /// <summary>The file does not exist.</summary>
    NotFound,

    /// <summary>A folder or a device stands where a regular file is needed.</summary>
    NotAFile,

    /// <summary>Something already exists at the path.</summary>
    AlreadyExists,

    /// <summary>Another process, or another mount in this one, holds the file.</summary>
    InUse,

    /// <summary>The operating system refuses access to the file.</summary>
    PermissionDenied,

    /// <summary>The image holds no bytes.</summary>
    EmptyImage,

    /// <summary>The image's size is not a multiple of 512 bytes.</summary>
    BadImageSize,

    /// <summary>The file ends before its format says it may.</summary>
    Truncated,

    /// <summary>The file's metadata contradicts its format.</summary>
    Corrupt,

    /// <summary>The file is not of the format that was asked for.</summary>
    WrongFormat,

    /// <summary>The format cannot be told safely from the content; it must be named.</summary>
    AmbiguousFormat,

    /// <summary>The file is well-formed and uses something this version does not handle.</summary>
    Unsupported,

    /// <summary>The image names a file that it may not use: a data file, or with -Untrusted a parent, outside its folder.</summary>
    ReferenceRefused,

    /// <summary>An image that is opened as a stranger's claims or costs more than its limits.</summary>
    LimitExceeded,

    /// <summary>A request reaches beyond the end of the disk.</summary>
    OutOfRange,

    /// <summary>A negative or overflowing range.</summary>
    InvalidRange,

    /// <summary>A request is not a multiple of the node's alignment.</summary>
    Misaligned,

    /// <summary>A parameter has a value that can't be used.</summary>
    InvalidArgument,

    /// <summary>It can lose data, and the user was not asked and has not said -Force.</summary>
    Unconfirmed,

    /// <summary>A write to something opened or published read-only.</summary>
    ReadOnly,

    /// <summary>The file system or the device is full.</summary>
    NoSpace,

    /// <summary>The operating system reports an I/O failure.</summary>
    IoFailed,

    /// <summary>A guest write failed because its old data could not be copied (policy BreakGuestWrite).</summary>
    CopyFailed,

    /// <summary>Old data was not copied in time, and the guest write or the session failed for it.</summary>
    CopyTimedOut,

    /// <summary>The storage of temp is full, so a guest write's old data could not be copied (policy BreakGuestWrite).</summary>
    TempFull,

    /// <summary>Temp holds as much old data as the session may keep.</summary>
    TempLimitReached,

    /// <summary>The snapshot was limited to other ranges when the session started.</summary>
    Denied,

    /// <summary>The range was consumed: read, confirmed and discarded.</summary>
    Consumed,

    /// <summary>The session lost its point in time; the inner exception is the first cause.</summary>
    Broken,

    /// <summary>The session has been stopped.</summary>
    Stopped,

    /// <summary>The node or disk has been closed.</summary>
    Closed,

    /// <summary>The temp image is smaller than the disk.</summary>
    TempTooSmall,

    /// <summary>The temp image is the disk itself.</summary>
    TempIsDisk,

    /// <summary>No disk of that name is mounted.</summary>
    DiskUnknown,

    /// <summary>A disk of that name is mounted already.</summary>
    DiskNameInUse,

    /// <summary>The disk still has sessions.</summary>
    DiskBusy,

    /// <summary>Others write to the disk as well, so it can have no point in time and no record of all changes.</summary>
    DiskShared,

    /// <summary>No session of that name is running.</summary>
    SessionUnknown,

    /// <summary>The disk has a session of that name already.</summary>
    SessionNameInUse,

    /// <summary>The name fits several sessions, or none was given and several run.</summary>
    SessionAmbiguous,

    /// <summary>The session counts no consumer of that name, or several, of which none was named.</summary>
    ConsumerUnknown,

    /// <summary>The disk has no bitmap of that name.</summary>
    BitmapUnknown,

    /// <summary>The disk has a bitmap of that name already.</summary>
    BitmapNameInUse,

    /// <summary>A session uses the bitmap.</summary>
    BitmapBusy,

    /// <summary>The bitmap may have missed changes; the message says why.</summary>
    BitmapUntrusted,

    /// <summary>The bitmap is a record of a parent image, which nothing changes or pins through the child.</summary>
    BitmapOfParent,

    /// <summary>The file that keeps a disk's bitmaps, or the image's own table of them, can't be used.</summary>
    BitmapStoreUnusable,

    /// <summary>A record is of an earlier thing than the one that has its name now.</summary>
    RecordStale,

    /// <summary>Chunks of another snapshot were sent to a backup that had begun.</summary>
    ForeignChunk,

    /// <summary>A chunk that was disposed, or sent to a backup, before was sent to a backup.</summary>
    ChunkUsed,

    /// <summary>A backup ended before all chunks of the read had arrived.</summary>
    BackupIncomplete,

    /// <summary>Another job works in the backup repository.</summary>
    RepositoryBusy,

    /// <summary>There is no such backup in the repository.</summary>
    BackupUnknown,

    /// <summary>The backup that an incremental one builds on is not in the repository.</summary>
    BackupParentMissing,

    /// <summary>A backup's file, or one that it builds on, is missing or is not the one its manifest describes.</summary>
    BackupChainBroken,

    /// <summary>What a backup holds is not what was backed up.</summary>
    BackupDigestMismatch,

    /// <summary>The repository holds the backups of another disk.</summary>
    BackupForeign,

    /// <summary>A snapshot that is to go into a repository does not tell which disk it is of.</summary>
    BackupUnidentified,

    /// <summary>A file that is to describe a backup does not.</summary>
    ManifestInvalid,

    /// <summary>A URI that names no NBD export or listener.</summary>
    UriInvalid,

    /// <summary>Nobody answers at the address of an NBD server.</summary>
    ConnectFailed,

    /// <summary>The connection to an NBD server ended and could not be made again in time.</summary>
    ConnectionLost,

    /// <summary>An NBD server broke the rules of the protocol.</summary>
    ProtocolViolated,

    /// <summary>TLS was refused, demanded or failed its checks.</summary>
    TlsFailed,

    /// <summary>There is no export of that name.</summary>
    ExportUnknown,

    /// <summary>The listener has an export of that name already.</summary>
    ExportNameInUse,

    /// <summary>Another process, or another kind of file, has the listener's address.</summary>
    AddressInUse,

    /// <summary>A listener beyond this machine without TLS.</summary>
    InsecureListener,

    /// <summary>An internal rule did not hold; the node refuses further work.</summary>
    InvariantBroken,
}
