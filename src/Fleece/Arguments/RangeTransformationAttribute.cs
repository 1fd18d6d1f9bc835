// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using Fleece.Block;

namespace Fleece;

/// <summary>Makes ranges of objects with OffsetBytes and LengthBytes: hashtables, custom objects, the runs of a map.</summary>
/// <remarks>Nothing becomes an empty list: a pipeline without output must not come to mean the whole disk.</remarks>
internal sealed class RangeTransformationAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public override object Transform(EngineIntrinsics engineIntrinsics, object? inputData)
    {
        object? plain = Unwrap(inputData);
        try
        {
            return plain switch
            {
                null => Array.Empty<BlockRange>(),
                object?[] items => Array.ConvertAll(items, Parse),
                IEnumerable items and not IDictionary and not string => items.Cast<object?>().Select(Parse).ToArray(),
                _ => new[] { Parse(inputData) },
            };
        }
        catch (BlockException e)
        {
            throw new ArgumentTransformationMetadataException(e.Message, e);
        }
    }

    private static BlockRange Parse(object? value) => Unwrap(value) is BlockRange range
        ? range
        : new BlockRange(Number(value, "OffsetBytes"), Number(value, "LengthBytes"));

    // A custom object is its wrapper: what is inside has no properties.
    private static object? Unwrap(object? value) =>
        value is PSObject { BaseObject: not PSCustomObject } wrapped ? wrapped.BaseObject : value;

    private static object? Property(object? value, string name) => Unwrap(value) switch
    {
        null => null,
        IDictionary table => table[name],
        var plain => PSObject.AsPSObject(plain).Properties[name]?.Value,
    };

    private static long Number(object? value, string name)
    {
        object? number = Unwrap(Property(value, name));
        try
        {
            return number is null
                ? throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"A range has no {name}; give objects with OffsetBytes and LengthBytes.")
                : LanguagePrimitives.ConvertTo<long>(number); // As parameters are: "1MB" is a number.
        }
        catch (PSInvalidCastException e)
        {
            throw new BlockException(
                BlockErrors.InvalidRange, $"A range's {name} is '{number}', which is no 64-bit number.", cause: e);
        }
    }
}
