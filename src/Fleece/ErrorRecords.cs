// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;

namespace Fleece;

/// <summary>Turns engine errors into error records by <see cref="ErrorTable"/>.</summary>
internal static class ErrorRecords
{
    public static ErrorRecord From(BlockException exception, object? target)
    {
        exception = WithDisk(exception);
        ErrorRow row = ErrorTable.Find(exception.Kind);
        ErrorRecord record = new(exception, row.ErrorId, row.Category, target ?? exception.Path);

        // What PowerShell shows of the target; the object itself stays exact.
        record.CategoryInfo.TargetName = PrintableText.Of(record.CategoryInfo.TargetName);
        return record;
    }

    // The engine knows that this process holds the file; the user knows the disk.
    private static BlockException WithDisk(BlockException exception) =>
        exception.Kind == BlockErrors.InUse && FleeceModule.Disks.All.FirstOrDefault(disk => disk.Path == exception.Path) is { } disk
            ? new BlockException(
                exception.Kind,
                $"'{exception.Path}' is mounted in this process as the disk '{disk.Name}'. To read it meanwhile, start a session on the " +
                "disk (Start-FleeceSession) and read its snapshot (Read-FleeceSnapshot); for all else dismount it first.",
                exception.Path,
                exception.OffsetBytes,
                exception.Operation,
                exception)
            : exception;
}
