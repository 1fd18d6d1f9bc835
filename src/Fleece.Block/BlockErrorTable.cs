// SPDX-License-Identifier: MIT
using System.Collections.Frozen;

namespace Fleece.Block;

/// <summary>How one error kind shows itself to the users of Fleece.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="ErrorId">The first part of PowerShell's FullyQualifiedErrorId; stable between versions.</param>
/// <param name="Category">The name of PowerShell's ErrorCategory.</param>
/// <param name="Errno">What a client of an export gets.</param>
public readonly record struct BlockErrorRow(BlockErrorKind Kind, string ErrorId, string Category, WireErrno Errno);

/// <summary>The one table from error kinds to what users see; docs/errors.md is its prose (rule R4).</summary>
public static class BlockErrorTable
{
    private static readonly FrozenDictionary<BlockErrorKind, BlockErrorRow> ByKind = new BlockErrorRow[]
    {
        new(BlockErrorKind.NotFound, "ImageNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.NotAFile, "ImageNotAFile", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.AlreadyExists, "ImageAlreadyExists", "ResourceExists", WireErrno.Io),
        new(BlockErrorKind.InUse, "ImageInUse", "ResourceBusy", WireErrno.Io),
        new(BlockErrorKind.PermissionDenied, "ImagePermissionDenied", "PermissionDenied", WireErrno.Io),
        new(BlockErrorKind.EmptyImage, "ImageEmpty", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.BadImageSize, "ImageSizeInvalid", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.Truncated, "ImageTruncated", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.Corrupt, "ImageCorrupt", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.WrongFormat, "ImageWrongFormat", "InvalidType", WireErrno.Io),
        new(BlockErrorKind.AmbiguousFormat, "ImageFormatAmbiguous", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.Unsupported, "ImageUnsupported", "NotImplemented", WireErrno.NotSupported),
        new(BlockErrorKind.ReferenceRefused, "ImageReferenceRefused", "SecurityError", WireErrno.Io),
        new(BlockErrorKind.LimitExceeded, "ImageLimitExceeded", "LimitsExceeded", WireErrno.Io),
        new(BlockErrorKind.OutOfRange, "RangeBeyondEnd", "InvalidArgument", WireErrno.Invalid),
        new(BlockErrorKind.InvalidRange, "RangeInvalid", "InvalidArgument", WireErrno.Invalid),
        new(BlockErrorKind.Misaligned, "RangeMisaligned", "InvalidArgument", WireErrno.Invalid),
        new(BlockErrorKind.InvalidArgument, "ArgumentInvalid", "InvalidArgument", WireErrno.Invalid),
        new(BlockErrorKind.Unconfirmed, "ConfirmationNeeded", "InvalidOperation", WireErrno.Io),
        new(BlockErrorKind.ReadOnly, "DiskReadOnly", "WriteError", WireErrno.NotPermitted),
        new(BlockErrorKind.NoSpace, "StorageFull", "ResourceUnavailable", WireErrno.NoSpace),
        new(BlockErrorKind.IoFailed, "IoFailed", "DeviceError", WireErrno.Io),
        new(BlockErrorKind.CopyFailed, "CopyBeforeWriteFailed", "WriteError", WireErrno.Io),
        new(BlockErrorKind.CopyTimedOut, "CopyBeforeWriteTimedOut", "OperationTimeout", WireErrno.Io),
        new(BlockErrorKind.TempFull, "TempFull", "ResourceUnavailable", WireErrno.NoSpace),
        new(BlockErrorKind.TempLimitReached, "TempLimitReached", "LimitsExceeded", WireErrno.NoSpace),
        new(BlockErrorKind.Denied, "SnapshotRangeDenied", "PermissionDenied", WireErrno.NotPermitted),
        new(BlockErrorKind.Consumed, "SnapshotRangeConsumed", "ResourceUnavailable", WireErrno.NotPermitted),
        new(BlockErrorKind.Broken, "SessionBroken", "InvalidResult", WireErrno.NotPermitted),
        new(BlockErrorKind.Stopped, "SessionStopped", "ResourceUnavailable", WireErrno.Shutdown),
        new(BlockErrorKind.Closed, "DiskClosed", "ResourceUnavailable", WireErrno.Shutdown),
        new(BlockErrorKind.TempTooSmall, "TempTooSmall", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.TempIsDisk, "TempIsDisk", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.DiskUnknown, "DiskNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.DiskNameInUse, "DiskNameInUse", "ResourceExists", WireErrno.Io),
        new(BlockErrorKind.DiskBusy, "DiskBusy", "ResourceBusy", WireErrno.Io),
        new(BlockErrorKind.DiskShared, "DiskShared", "InvalidOperation", WireErrno.Io),
        new(BlockErrorKind.SessionUnknown, "SessionNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.SessionNameInUse, "SessionNameInUse", "ResourceExists", WireErrno.Io),
        new(BlockErrorKind.SessionAmbiguous, "SessionAmbiguous", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.ConsumerUnknown, "ConsumerNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.BitmapUnknown, "BitmapNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.BitmapNameInUse, "BitmapNameInUse", "ResourceExists", WireErrno.Io),
        new(BlockErrorKind.BitmapBusy, "BitmapBusy", "ResourceBusy", WireErrno.Io),
        new(BlockErrorKind.BitmapUntrusted, "BitmapUntrusted", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.BitmapOfParent, "BitmapOfParent", "InvalidOperation", WireErrno.Io),
        new(BlockErrorKind.BitmapStoreUnusable, "BitmapStoreUnusable", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.RecordStale, "RecordStale", "InvalidOperation", WireErrno.Io),
        new(BlockErrorKind.ForeignChunk, "ChunkOfAnotherSnapshot", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.ChunkUsed, "ChunkAlreadyUsed", "InvalidOperation", WireErrno.Io),
        new(BlockErrorKind.BackupIncomplete, "BackupIncomplete", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.RepositoryBusy, "RepositoryInUse", "ResourceBusy", WireErrno.Io),
        new(BlockErrorKind.BackupUnknown, "BackupNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.BackupParentMissing, "BackupParentMissing", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.BackupChainBroken, "BackupChainBroken", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.BackupDigestMismatch, "BackupDigestMismatch", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.BackupForeign, "BackupOfAnotherDisk", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.BackupUnidentified, "BackupOfUnknownDisk", "InvalidArgument", WireErrno.Io),
        new(BlockErrorKind.ManifestInvalid, "BackupManifestInvalid", "InvalidData", WireErrno.Io),
        new(BlockErrorKind.UriInvalid, "UriInvalid", "InvalidArgument", WireErrno.Invalid),
        new(BlockErrorKind.ConnectFailed, "ServerUnreachable", "ConnectionError", WireErrno.Io),
        new(BlockErrorKind.ConnectionLost, "ConnectionLost", "ConnectionError", WireErrno.Io),
        new(BlockErrorKind.ProtocolViolated, "ProtocolViolated", "ProtocolError", WireErrno.Io),
        new(BlockErrorKind.TlsFailed, "TlsFailed", "SecurityError", WireErrno.Io),
        new(BlockErrorKind.ExportUnknown, "ExportNotFound", "ObjectNotFound", WireErrno.Io),
        new(BlockErrorKind.ExportNameInUse, "ExportNameInUse", "ResourceExists", WireErrno.Io),
        new(BlockErrorKind.AddressInUse, "AddressInUse", "ResourceBusy", WireErrno.Io),
        new(BlockErrorKind.InsecureListener, "InsecureListener", "SecurityError", WireErrno.Io),
        new(BlockErrorKind.InvariantBroken, "InvariantBroken", "InvalidResult", WireErrno.Io),
    }.ToFrozenDictionary(row => row.Kind);

    /// <summary>Every row, in no particular order.</summary>
    public static IReadOnlyCollection<BlockErrorRow> Rows => ByKind.Values;

    /// <summary>The row of a kind.</summary>
    public static BlockErrorRow Find(BlockErrorKind kind) => ByKind[kind];
}
