// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;

namespace Fleece;

/// <summary>Turns engine errors into error records by <see cref="ErrorTable"/>.</summary>
internal static class ErrorRecords
{
    public static ErrorRecord From(BlockException exception, object? target)
    {
        ErrorRow row = ErrorTable.Find(exception.Kind);
        ErrorRecord record = new(exception, row.ErrorId, row.Category, target ?? exception.Path);

        // What PowerShell shows of the target; the object itself stays exact.
        record.CategoryInfo.TargetName = PrintableText.Of(record.CategoryInfo.TargetName);
        return record;
    }
}
