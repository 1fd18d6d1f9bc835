// SPDX-License-Identifier: MIT
using System.Collections.Frozen;
using System.Management.Automation;
using Fleece.Backups;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Qemu;

namespace Fleece;

/// <summary>What a user sees of one kind of error.</summary>
/// <param name="Kind">A constant of the engine, for example <see cref="BlockErrors.NotFound"/>.</param>
/// <param name="ErrorId">The first part of PowerShell's FullyQualifiedErrorId; stable between versions.</param>
/// <param name="Category">PowerShell's category.</param>
internal sealed record ErrorRow(string Kind, string ErrorId, ErrorCategory Category);

/// <summary>The one table from kinds of errors to PowerShell's error records; docs/errors.md is its prose (rule R4).</summary>
internal static class ErrorTable
{
    private static readonly FrozenDictionary<string, ErrorRow> ByKind = new ErrorRow[]
    {
        new(BlockErrors.NotFound, "ImageNotFound", ErrorCategory.ObjectNotFound),
        new(BlockErrors.NotAFile, "ImageNotAFile", ErrorCategory.InvalidArgument),
        new(BlockErrors.AlreadyExists, "ImageAlreadyExists", ErrorCategory.ResourceExists),
        new(BlockErrors.InUse, "ImageInUse", ErrorCategory.ResourceBusy),
        new(BlockErrors.PermissionDenied, "ImagePermissionDenied", ErrorCategory.PermissionDenied),
        new(ImageErrors.EmptyImage, "ImageEmpty", ErrorCategory.InvalidData),
        new(ImageErrors.BadImageSize, "ImageSizeInvalid", ErrorCategory.InvalidData),
        new(BlockErrors.Truncated, "ImageTruncated", ErrorCategory.InvalidData),
        new(ImageErrors.Corrupt, "ImageCorrupt", ErrorCategory.InvalidData),
        new(ImageErrors.WrongFormat, "ImageWrongFormat", ErrorCategory.InvalidType),
        new(ImageErrors.AmbiguousFormat, "ImageFormatAmbiguous", ErrorCategory.InvalidArgument),
        new(BlockErrors.Unsupported, "ImageUnsupported", ErrorCategory.NotImplemented),
        new(ImageErrors.ReferenceRefused, "ImageReferenceRefused", ErrorCategory.SecurityError),
        new(ImageErrors.LimitExceeded, "ImageLimitExceeded", ErrorCategory.LimitsExceeded),
        new(ImageErrors.ImageHasSession, "ImageHasSession", ErrorCategory.ResourceBusy),
        new(BlockErrors.OutOfRange, "RangeBeyondEnd", ErrorCategory.InvalidArgument),
        new(BlockErrors.InvalidRange, "RangeInvalid", ErrorCategory.InvalidArgument),
        new(BlockErrors.Misaligned, "RangeMisaligned", ErrorCategory.InvalidArgument),
        new(BlockErrors.InvalidArgument, "ArgumentInvalid", ErrorCategory.InvalidArgument),
        new(CmdletErrors.Unconfirmed, "ConfirmationNeeded", ErrorCategory.InvalidOperation),
        new(BlockErrors.ReadOnly, "DiskReadOnly", ErrorCategory.WriteError),
        new(BlockErrors.NoSpace, "StorageFull", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.IoFailed, "IoFailed", ErrorCategory.DeviceError),
        new(BlockErrors.CopyFailed, "CopyBeforeWriteFailed", ErrorCategory.WriteError),
        new(BlockErrors.CopyTimedOut, "CopyBeforeWriteTimedOut", ErrorCategory.OperationTimeout),
        new(BlockErrors.TempFull, "TempFull", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.TempLimitReached, "TempLimitReached", ErrorCategory.LimitsExceeded),
        new(BlockErrors.SessionLogFull, "SessionLogFull", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.Denied, "SnapshotRangeDenied", ErrorCategory.PermissionDenied),
        new(BlockErrors.Consumed, "SnapshotRangeConsumed", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.Broken, "SessionBroken", ErrorCategory.InvalidResult),
        new(BlockErrors.Stopped, "SessionStopped", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.Closed, "DiskClosed", ErrorCategory.ResourceUnavailable),
        new(BlockErrors.TempTooSmall, "TempTooSmall", ErrorCategory.InvalidArgument),
        new(DiskErrors.TempIsDisk, "TempIsDisk", ErrorCategory.InvalidArgument),
        new(DiskErrors.DiskUnknown, "DiskNotFound", ErrorCategory.ObjectNotFound),
        new(DiskErrors.DiskNameInUse, "DiskNameInUse", ErrorCategory.ResourceExists),
        new(DiskErrors.DiskBusy, "DiskBusy", ErrorCategory.ResourceBusy),
        new(DiskErrors.DiskShared, "DiskShared", ErrorCategory.InvalidOperation),
        new(DiskErrors.SessionUnknown, "SessionNotFound", ErrorCategory.ObjectNotFound),
        new(DiskErrors.SessionLost, "SessionLost", ErrorCategory.ResourceUnavailable),
        new(DiskErrors.SessionNameInUse, "SessionNameInUse", ErrorCategory.ResourceExists),
        new(DiskErrors.SessionAmbiguous, "SessionAmbiguous", ErrorCategory.InvalidArgument),
        new(DiskErrors.ConsumerUnknown, "ConsumerNotFound", ErrorCategory.ObjectNotFound),
        new(DiskErrors.BitmapUnknown, "BitmapNotFound", ErrorCategory.ObjectNotFound),
        new(DiskErrors.BitmapNameInUse, "BitmapNameInUse", ErrorCategory.ResourceExists),
        new(DiskErrors.BitmapBusy, "BitmapBusy", ErrorCategory.ResourceBusy),
        new(DiskErrors.BitmapUntrusted, "BitmapUntrusted", ErrorCategory.InvalidData),
        new(DiskErrors.BitmapOfParent, "BitmapOfParent", ErrorCategory.InvalidOperation),
        new(DiskErrors.BitmapStoreUnusable, "BitmapStoreUnusable", ErrorCategory.InvalidData),
        new(DiskErrors.RecordStale, "RecordStale", ErrorCategory.InvalidOperation),
        new(BackupErrors.ForeignChunk, "ChunkOfAnotherSnapshot", ErrorCategory.InvalidData),
        new(BackupErrors.ChunkUsed, "ChunkAlreadyUsed", ErrorCategory.InvalidOperation),
        new(BackupErrors.BackupIncomplete, "BackupIncomplete", ErrorCategory.InvalidData),
        new(BackupErrors.RepositoryBusy, "RepositoryInUse", ErrorCategory.ResourceBusy),
        new(BackupErrors.BackupUnknown, "BackupNotFound", ErrorCategory.ObjectNotFound),
        new(BackupErrors.BackupParentMissing, "BackupParentMissing", ErrorCategory.ObjectNotFound),
        new(BackupErrors.BackupChainBroken, "BackupChainBroken", ErrorCategory.InvalidData),
        new(BackupErrors.BackupDigestMismatch, "BackupDigestMismatch", ErrorCategory.InvalidData),
        new(DiskErrors.BackupForeign, "BackupOfAnotherDisk", ErrorCategory.InvalidArgument),
        new(BackupErrors.BackupUnidentified, "BackupOfUnknownDisk", ErrorCategory.InvalidArgument),
        new(BackupErrors.FileOfBackup, "FileOfBackup", ErrorCategory.InvalidOperation),
        new(BackupErrors.ManifestInvalid, "BackupManifestInvalid", ErrorCategory.InvalidData),
        new(NbdErrors.UriInvalid, "UriInvalid", ErrorCategory.InvalidArgument),
        new(NbdErrors.ConnectFailed, "ServerUnreachable", ErrorCategory.ConnectionError),
        new(NbdErrors.ConnectionLost, "ConnectionLost", ErrorCategory.ConnectionError),
        new(NbdErrors.ProtocolViolated, "ProtocolViolated", ErrorCategory.ProtocolError),
        new(NbdErrors.TlsFailed, "TlsFailed", ErrorCategory.SecurityError),
        new(NbdErrors.ExportUnknown, "ExportNotFound", ErrorCategory.ObjectNotFound),
        new(DiskErrors.ExportNameInUse, "ExportNameInUse", ErrorCategory.ResourceExists),
        new(NbdErrors.AddressInUse, "AddressInUse", ErrorCategory.ResourceBusy),
        new(NbdErrors.InsecureListener, "InsecureListener", ErrorCategory.SecurityError),
        new(HostErrors.NotRunning, "HostNotRunning", ErrorCategory.ConnectionError),
        new(HostErrors.AccessRefused, "HostAccessRefused", ErrorCategory.PermissionDenied),
        new(HostErrors.SocketForeign, "HostSocketForeign", ErrorCategory.SecurityError),
        new(HostErrors.VersionMismatch, "HostVersionMismatch", ErrorCategory.NotImplemented),
        new(HostErrors.CallInterrupted, "HostCallInterrupted", ErrorCategory.ConnectionError),
        new(HostErrors.Overloaded, "HostOverloaded", ErrorCategory.LimitsExceeded),
        new(HostErrors.PathRefused, "HostPathRefused", ErrorCategory.SecurityError),
        new(HostErrors.StateInvalid, "HostStateInvalid", ErrorCategory.InvalidData),
        new(HostErrors.AlreadyRunning, "HostAlreadyRunning", ErrorCategory.ResourceBusy),
        new(HostErrors.NotHere, "HostNotHere", ErrorCategory.InvalidOperation),
        new(QemuErrors.QemuNotRunning, "QemuNotRunning", ErrorCategory.ConnectionError),
        new(QemuErrors.MonitorBusy, "QemuMonitorBusy", ErrorCategory.ResourceBusy),
        new(QemuErrors.NotQmp, "QemuProtocolViolated", ErrorCategory.ProtocolError),
        new(QemuErrors.QemuGone, "QemuGone", ErrorCategory.ConnectionError),
        new(QemuErrors.CommandRefused, "QemuCommandRefused", ErrorCategory.InvalidResult),
        new(QemuErrors.DeviceUnknown, "QemuDeviceNotFound", ErrorCategory.ObjectNotFound),
        new(QemuErrors.DeviceUnsuitable, "QemuDeviceUnsuitable", ErrorCategory.InvalidArgument),
        new(QemuErrors.FeatureMissing, "QemuFeatureMissing", ErrorCategory.NotImplemented),
        new(QemuErrors.PauseTooLong, "GuestPauseTooLong", ErrorCategory.OperationTimeout),
        new(QemuErrors.AgentFailed, "GuestAgentFailed", ErrorCategory.InvalidResult),
        new(BlockErrors.InvariantBroken, "InvariantBroken", ErrorCategory.InvalidResult),
    }.ToFrozenDictionary(row => row.Kind);

    /// <summary>Every row, in no particular order.</summary>
    public static IReadOnlyCollection<ErrorRow> Rows => ByKind.Values;

    /// <summary>The row of a kind; that of <see cref="BlockErrors.IoFailed"/> for one of a newer host that this version does not know.
    /// </summary>
    public static ErrorRow Find(string kind) => ByKind.GetValueOrDefault(kind) ?? ByKind[BlockErrors.IoFailed];
}
