// SPDX-License-Identifier: MIT
using System.Collections.Frozen;

namespace Fleece.Block;

/// <summary>How one error kind shows itself to the users of Fleece.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="ErrorId">The first part of PowerShell's FullyQualifiedErrorId; stable between versions.</param>
/// <param name="Category">The name of PowerShell's ErrorCategory.</param>
public readonly record struct BlockErrorRow(BlockErrorKind Kind, string ErrorId, string Category);

/// <summary>The one table from error kinds to what users see; docs/errors.md is its prose (rule R4).</summary>
public static class BlockErrorTable
{
    private static readonly FrozenDictionary<BlockErrorKind, BlockErrorRow> ByKind = new BlockErrorRow[]
    {
        new(BlockErrorKind.NotFound, "ImageNotFound", "ObjectNotFound"),
        new(BlockErrorKind.NotAFile, "ImageNotAFile", "InvalidArgument"),
        new(BlockErrorKind.AlreadyExists, "ImageAlreadyExists", "ResourceExists"),
        new(BlockErrorKind.InUse, "ImageInUse", "ResourceBusy"),
        new(BlockErrorKind.PermissionDenied, "ImagePermissionDenied", "PermissionDenied"),
        new(BlockErrorKind.EmptyImage, "ImageEmpty", "InvalidData"),
        new(BlockErrorKind.BadImageSize, "ImageSizeInvalid", "InvalidData"),
        new(BlockErrorKind.Truncated, "ImageTruncated", "InvalidData"),
        new(BlockErrorKind.Corrupt, "ImageCorrupt", "InvalidData"),
        new(BlockErrorKind.WrongFormat, "ImageWrongFormat", "InvalidType"),
        new(BlockErrorKind.AmbiguousFormat, "ImageFormatAmbiguous", "InvalidArgument"),
        new(BlockErrorKind.Unsupported, "ImageUnsupported", "NotImplemented"),
        new(BlockErrorKind.OutOfRange, "RangeBeyondEnd", "InvalidArgument"),
        new(BlockErrorKind.InvalidRange, "RangeInvalid", "InvalidArgument"),
        new(BlockErrorKind.Misaligned, "RangeMisaligned", "InvalidArgument"),
        new(BlockErrorKind.InvalidArgument, "ArgumentInvalid", "InvalidArgument"),
        new(BlockErrorKind.ReadOnly, "DiskReadOnly", "WriteError"),
        new(BlockErrorKind.NoSpace, "StorageFull", "ResourceUnavailable"),
        new(BlockErrorKind.IoFailed, "IoFailed", "DeviceError"),
        new(BlockErrorKind.CopyFailed, "CopyBeforeWriteFailed", "WriteError"),
        new(BlockErrorKind.Denied, "SnapshotRangeDenied", "PermissionDenied"),
        new(BlockErrorKind.Consumed, "SnapshotRangeConsumed", "ResourceUnavailable"),
        new(BlockErrorKind.Broken, "SessionBroken", "InvalidResult"),
        new(BlockErrorKind.Stopped, "SessionStopped", "ResourceUnavailable"),
        new(BlockErrorKind.Closed, "DiskClosed", "ResourceUnavailable"),
        new(BlockErrorKind.TempTooSmall, "TempTooSmall", "InvalidArgument"),
        new(BlockErrorKind.TempIsDisk, "TempIsDisk", "InvalidArgument"),
        new(BlockErrorKind.DiskUnknown, "DiskNotFound", "ObjectNotFound"),
        new(BlockErrorKind.DiskNameInUse, "DiskNameInUse", "ResourceExists"),
        new(BlockErrorKind.DiskBusy, "DiskBusy", "ResourceBusy"),
        new(BlockErrorKind.SessionUnknown, "SessionNotFound", "ObjectNotFound"),
        new(BlockErrorKind.SessionNameInUse, "SessionNameInUse", "ResourceExists"),
        new(BlockErrorKind.SessionAmbiguous, "SessionAmbiguous", "InvalidArgument"),
        new(BlockErrorKind.ForeignChunk, "ChunkOfAnotherSnapshot", "InvalidData"),
        new(BlockErrorKind.ChunkUsed, "ChunkAlreadyUsed", "InvalidOperation"),
        new(BlockErrorKind.BackupIncomplete, "BackupIncomplete", "InvalidData"),
        new(BlockErrorKind.InvariantBroken, "InvariantBroken", "InvalidResult"),
    }.ToFrozenDictionary(row => row.Kind);

    /// <summary>Every row, in no particular order.</summary>
    public static IReadOnlyCollection<BlockErrorRow> Rows => ByKind.Values;

    /// <summary>The row of a kind.</summary>
    public static BlockErrorRow Find(BlockErrorKind kind) => ByKind[kind];
}
