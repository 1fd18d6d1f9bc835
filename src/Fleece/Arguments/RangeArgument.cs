// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation;
using Fleece.Block;

namespace Fleece;

/// <summary>Reads a range from any object with OffsetBytes and LengthBytes: a hashtable, a custom object, a map's run.</summary>
internal static class RangeArgument
{
    public static BlockRange Parse(object? value)
    {
        object? plain = value is PSObject wrapped && wrapped.BaseObject is not PSCustomObject ? wrapped.BaseObject : value;
        return plain is System.Collections.IDictionary table
            ? new BlockRange(Number(table["OffsetBytes"], "OffsetBytes"), Number(table["LengthBytes"], "LengthBytes"))
            : new BlockRange(Number(Property(value, "OffsetBytes"), "OffsetBytes"), Number(Property(value, "LengthBytes"), "LengthBytes"));
    }

    private static object? Property(object? value, string name) =>
        value is null ? null : PSObject.AsPSObject(value).Properties[name]?.Value;

    private static long Number(object? value, string name)
    {
        try
        {
            object? plain = value is PSObject wrapped ? wrapped.BaseObject : value;
            return plain is null
                ? throw new BlockException(
                    BlockErrorKind.InvalidArgument,
                    $"A range has no {name}; give objects with OffsetBytes and LengthBytes.")
                : Convert.ToInt64(plain, CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is FormatException or OverflowException or InvalidCastException)
        {
            throw new BlockException(
                BlockErrorKind.InvalidRange, $"A range's {name} is '{value}', which is no 64-bit number.", cause: e);
        }
    }
}
