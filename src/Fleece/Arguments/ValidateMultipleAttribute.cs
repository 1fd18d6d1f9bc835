// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation;

namespace Fleece;

/// <summary>Takes the multiples of a unit that are more than zero, and null for none.</summary>
/// <param name="unit">The unit.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ValidateMultipleAttribute(int unit) : ValidateArgumentsAttribute
{
    /// <inheritdoc/>
    protected override void Validate(object? arguments, EngineIntrinsics engineIntrinsics)
    {
        if (arguments is not null && Convert.ToInt64(arguments, CultureInfo.InvariantCulture) is var value &&
            (value <= 0 || value % unit != 0))
        {
            throw new ValidationMetadataException($"A multiple of {unit} that is more than zero is needed, and {value} is none.");
        }
    }
}
