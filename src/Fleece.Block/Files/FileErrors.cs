// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Security;

namespace Fleece.Block.Files;

/// <summary>The one place where errors of the operating system become <see cref="BlockException"/>s.</summary>
/// <remarks>
/// On Linux and macOS the HResult of an <see cref="IOException"/> is the bare errno; on Windows it is 0x8007 and the
/// Win32 code. The two never meet, so one table serves both.
/// </remarks>
internal static class FileErrors
{
    private const string UnknownHolder = "QEMU, another process or another mount in this one";
    private const int Win32Facility = unchecked((int)0x80070000);

    /// <summary>True for the exceptions that the framework's file calls throw.</summary>
    public static bool IsFromSystem(Exception exception) => exception is
        IOException or UnauthorizedAccessException or SecurityException or ArgumentException or NotSupportedException
        or ObjectDisposedException or OperationCanceledException;

    /// <summary>The engine's exception for one of the framework's.</summary>
    public static BlockException From(Exception cause, string path, string operation, long? offsetBytes = null)
    {
        string kind = cause switch
        {
            FileNotFoundException or DirectoryNotFoundException => BlockErrors.NotFound,
            UnauthorizedAccessException or SecurityException => BlockErrors.PermissionDenied,
            PathTooLongException => BlockErrors.InvalidArgument,
            IOException => KindOf(cause.HResult),
            ObjectDisposedException => BlockErrors.Closed,
            // How the framework reports EFBIG: offsets are checked before, so it can mean nothing else.
            ArgumentOutOfRangeException => BlockErrors.NoSpace,
            ArgumentException or NotSupportedException => BlockErrors.InvalidArgument,
            _ => BlockErrors.IoFailed,
        };
        return Make(kind, cause.Message, path, operation, offsetBytes, cause);
    }

    /// <summary>The engine's exception for an errno or a Win32 error code of a call made here.</summary>
    public static BlockException FromCode(int code, string path, string operation, long? offsetBytes = null)
    {
        int resultCode = OperatingSystem.IsWindows() ? Win32Facility | code : code;
        string text = Marshal.GetPInvokeErrorMessage(code);
        return Make(KindOf(resultCode), text, path, operation, offsetBytes, new IOException(text, resultCode));
    }

    /// <summary>The error for a file that somebody else has locked.</summary>
    /// <param name="path">The file.</param>
    /// <param name="operation">What was to be done with it.</param>
    /// <param name="holder">Who, or null when that can't be told.</param>
    /// <param name="cause">The system's exception, or null.</param>
    public static BlockException InUse(string path, string operation, string? holder, Exception? cause) => new(
        BlockErrors.InUse,
        $"Cannot {operation} '{path}': {holder ?? UnknownHolder} holds it. Close that first.",
        path,
        operation: operation,
        cause: cause);

    /// <summary>The error for reading a file that somebody else is writing to.</summary>
    /// <inheritdoc cref="InUse"/>
    public static BlockException BeingWritten(string path, string operation, string? holder) => new(
        BlockErrors.InUse,
        $"Cannot {operation} '{path}': {holder ?? UnknownHolder} has it open for writing, so its content can't be trusted. " +
        "QEMU keeps part of what a guest has written in its own memory, where no other process sees it. Close that first, or " +
        "read the disk through an NBD export of that process.",
        path,
        operation: operation);

    /// <summary>The error for a folder, device or pipe where a file is needed.</summary>
    public static BlockException NotAFile(string path) => new(
        BlockErrors.NotAFile,
        $"Cannot open '{path}': it is a folder, a device or a pipe. Name a regular file.",
        path,
        operation: "open");

    /// <summary>The error for a file that ends inside the bytes it should hold.</summary>
    public static BlockException Truncated(string path, long offsetBytes, long missingBytes) => new(
        BlockErrors.Truncated,
        $"Cannot read '{path}': the file ends at offset {offsetBytes}, {missingBytes} bytes before the data that was " +
        "asked for does. Something has shortened it; restore it from a copy, or mount it again at its present size.",
        path,
        offsetBytes,
        "read");

    /// <summary>The error for an open file that another program has made shorter.</summary>
    public static BlockException Cut(string path, long endBytes, long missingBytes) => new(
        BlockErrors.Truncated,
        $"The file '{path}' ends at offset {endBytes}, {missingBytes} bytes before its end so far. Something has shortened it while it " +
        "is in use, so nothing is written to it any more; restore it from a copy, or mount it again as it is.",
        path,
        endBytes,
        "read");

    /// <summary>The error for a new file whose name is taken.</summary>
    public static BlockException AlreadyExists(string path) =>
        Make(BlockErrors.AlreadyExists, "", path, "create", null, null);

    /// <summary>The error for a flush after one that failed.</summary>
    public static BlockException FlushFailedBefore(string path, BlockException first) => new(
        first.Kind,
        $"Cannot flush '{path}': an earlier flush failed, so what was written before it may be lost, and no later flush can store it. " +
        $"Check the storage, then close the file and check its content. The first failure: {first.Message}",
        path,
        operation: "flush",
        cause: first);

    /// <summary>The error for a file whose write-back has failed.</summary>
    public static BlockException NotStored(int code, string path)
    {
        string text = Marshal.GetPInvokeErrorMessage(code);
        return new BlockException(
            KindOf(code),
            $"The system could not store what it had taken for '{path}' ({text}), so some of that may be lost. Look at the system's log, " +
            "and check the storage and the room that it has left.",
            path,
            operation: "store",
            cause: new IOException(text, code));
    }

    /// <summary>The error for a change to a file that was opened for reading.</summary>
    public static BlockException ReadOnly(string path, string operation) => new(
        BlockErrors.ReadOnly,
        $"Cannot {operation} '{path}': it is open read-only. Open it for writing to change it.",
        path,
        operation: operation);

    private static BlockException Make(
        string kind, string systemText, string path, string operation, long? offsetBytes, Exception? cause)
    {
        string place = offsetBytes is long at ? $" at offset {at}" : "";
        string what = kind switch
        {
            BlockErrors.NotFound => "the file or its folder does not exist. Check the path.",
            BlockErrors.NotAFile => "it is a folder, a device or a pipe. Name a regular file.",
            BlockErrors.AlreadyExists => "something is there already. Choose another name, or remove it first.",
            BlockErrors.InUse => $"{UnknownHolder} holds it. Close that first.",
            BlockErrors.PermissionDenied => "access is denied. Check the permissions of the file and its folder.",
            BlockErrors.ReadOnly => "its file system is read-only. A system makes it so when the storage fails: look at its log, and " +
                "make the file system writable again.",
            BlockErrors.NoSpace => "the file system has no room for it. Free some space, or use another volume.",
            BlockErrors.Closed => "it has been closed. Open it again to use it.",
            BlockErrors.InvalidArgument => $"the path can't be used ({systemText}). Check the path.",
            _ => $"the system reports: {systemText.TrimEnd('.')}. Check the storage and the system's log.",
        };
        return new BlockException(
            kind, $"Cannot {operation} '{path}'{place}: {what}", path, offsetBytes, operation, cause);
    }

    private static string KindOf(int resultCode) => resultCode switch
    {
        _ when resultCode >> 16 == Win32Facility >> 16 => KindOfWin32(resultCode & 0xFFFF),
        2 or 20 => BlockErrors.NotFound, // ENOENT, ENOTDIR: a file stands where a folder of the path should be
        1 or 13 => BlockErrors.PermissionDenied, // EPERM, EACCES
        30 => BlockErrors.ReadOnly, // EROFS
        17 => BlockErrors.AlreadyExists, // EEXIST
        21 => BlockErrors.NotAFile, // EISDIR
        26 => BlockErrors.InUse, // ETXTBSY
        27 or 28 => BlockErrors.NoSpace, // EFBIG, ENOSPC
        11 when OperatingSystem.IsLinux() => BlockErrors.InUse, // EWOULDBLOCK: flock
        35 when OperatingSystem.IsMacOS() => BlockErrors.InUse,
        122 when OperatingSystem.IsLinux() => BlockErrors.NoSpace, // EDQUOT
        69 when OperatingSystem.IsMacOS() => BlockErrors.NoSpace,
        _ => BlockErrors.IoFailed,
    };

    private static string KindOfWin32(int error) => error switch
    {
        2 or 3 or 15 or 53 or 67 => BlockErrors.NotFound, // file, path, drive, network path, share
        5 => BlockErrors.PermissionDenied, // access denied
        19 => BlockErrors.ReadOnly, // write-protected medium
        32 or 33 => BlockErrors.InUse, // sharing violation, lock violation
        39 or 112 or 223 or 1295 => BlockErrors.NoSpace, // full, full, file too large, quota
        80 or 183 => BlockErrors.AlreadyExists,
        _ => BlockErrors.IoFailed,
    };
}
