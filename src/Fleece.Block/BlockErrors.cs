// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>The kinds of errors that arise in block nodes, files and points in time.</summary>
public static class BlockErrors
{
    /// <summary>The file does not exist.</summary>
    public const string NotFound = nameof(NotFound);

    /// <summary>A folder or a device stands where a regular file is needed.</summary>
    public const string NotAFile = nameof(NotAFile);

    /// <summary>Something already exists at the path.</summary>
    public const string AlreadyExists = nameof(AlreadyExists);

    /// <summary>Another process, or another mount in this one, holds the file.</summary>
    public const string InUse = nameof(InUse);

    /// <summary>The operating system refuses access to the file.</summary>
    public const string PermissionDenied = nameof(PermissionDenied);

    /// <summary>The file ends before its format says it may.</summary>
    public const string Truncated = nameof(Truncated);

    /// <summary>The file is well-formed and uses something this version does not handle.</summary>
    public const string Unsupported = nameof(Unsupported);

    /// <summary>A request reaches beyond the end of the disk.</summary>
    public const string OutOfRange = nameof(OutOfRange);

    /// <summary>A negative or overflowing range.</summary>
    public const string InvalidRange = nameof(InvalidRange);

    /// <summary>A request is not a multiple of the node's alignment.</summary>
    public const string Misaligned = nameof(Misaligned);

    /// <summary>A parameter has a value that can't be used.</summary>
    public const string InvalidArgument = nameof(InvalidArgument);

    /// <summary>A write to something opened or published read-only.</summary>
    public const string ReadOnly = nameof(ReadOnly);

    /// <summary>The file system or the device is full.</summary>
    public const string NoSpace = nameof(NoSpace);

    /// <summary>The operating system reports an I/O failure.</summary>
    public const string IoFailed = nameof(IoFailed);

    /// <summary>A guest write failed because its old data could not be copied (policy BreakGuestWrite).</summary>
    public const string CopyFailed = nameof(CopyFailed);

    /// <summary>Old data was not copied in time, and the guest write or the session failed for it.</summary>
    public const string CopyTimedOut = nameof(CopyTimedOut);

    /// <summary>The storage of temp is full, so a guest write's old data could not be copied (policy BreakGuestWrite).</summary>
    public const string TempFull = nameof(TempFull);

    /// <summary>Temp holds as much old data as the session may keep.</summary>
    public const string TempLimitReached = nameof(TempLimitReached);

    /// <summary>The storage of a session's log is full, so a guest write's old data or a discard could not be noted.</summary>
    public const string SessionLogFull = nameof(SessionLogFull);

    /// <summary>The snapshot was limited to other ranges when the session started.</summary>
    public const string Denied = nameof(Denied);

    /// <summary>The range was consumed: read, confirmed and discarded.</summary>
    public const string Consumed = nameof(Consumed);

    /// <summary>The session lost its point in time; the inner exception is the first cause.</summary>
    public const string Broken = nameof(Broken);

    /// <summary>The session has been stopped.</summary>
    public const string Stopped = nameof(Stopped);

    /// <summary>The node or disk has been closed.</summary>
    public const string Closed = nameof(Closed);

    /// <summary>The temp image is smaller than the disk.</summary>
    public const string TempTooSmall = nameof(TempTooSmall);

    /// <summary>An internal rule did not hold; the node refuses further work.</summary>
    public const string InvariantBroken = nameof(InvariantBroken);
}
