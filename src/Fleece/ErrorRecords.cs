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

    // The engine knows which process holds the file; the user knows the disk.
    private static BlockException WithDisk(BlockException exception)
    {
        if (exception is not { Kind: BlockErrors.InUse, Path: { } path } || FindOwner(path) is not { } owner)
        {
            return exception;
        }

        return new BlockException(
            exception.Kind,
            $"'{path}' is {owner}. To read it meanwhile, start a session on the disk (Start-FleeceSession) and read its snapshot " +
            "(Read-FleeceSnapshot); for all else dismount it first.",
            path,
            exception.OffsetBytes,
            exception.Operation,
            exception);
    }

    private static string? FindOwner(string path) =>
        FleeceModule.Disks.All.FirstOrDefault(disk => disk.Path == path) is { } own ? $"mounted in this process as the disk '{own.Name}'"
        : FleeceCommand.Wait(FleeceModule.Hosts.FindServedAsync(path)) is { } served ? $"served by the Fleece host as '{served.Name}'"
        : null;
}
