// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation;

namespace Fleece;

/// <summary>Takes the digits of a number for a mode as chmod does: 660 and '0660' are octal. .NET takes both for decimal.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class FileModeTransformationAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData)
    {
        object? plain = inputData is PSObject wrapped ? wrapped.BaseObject : inputData;
        string? text = plain switch
        {
            string words => words.Trim(),
            int or long or short or byte or uint or ulong or ushort or sbyte => Convert.ToString(plain, CultureInfo.InvariantCulture),
            _ => null,
        };
        if (text is null || text.Length == 0 || text.Any(char.IsAsciiLetter))
        {
            // A UnixFileMode, or the names of its values.
            return inputData;
        }

        int mode = 0;
        foreach (char digit in text)
        {
            mode = digit is >= '0' and <= '7' && mode <= 0xFFFF
                ? (mode * 8) + (digit - '0')
                : throw new ArgumentTransformationMetadataException(
                    $"'{text}' is no mode of a file. Give octal digits as for chmod, such as 0660.");
        }

        return (UnixFileMode)mode;
    }
}
