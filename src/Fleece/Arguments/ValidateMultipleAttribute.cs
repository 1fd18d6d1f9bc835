// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation;

namespace Fleece;

/// <summary>Takes the multiples of a unit that are more than zero.</summary>
/// <param name="unit">The unit.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ValidateMultipleAttribute(int unit) : ValidateArgumentsAttribute
{
    /// <inheritdoc/>
    protected override void Validate(object arguments, EngineIntrinsics engineIntrinsics)
    {
        long value = Convert.ToInt64(arguments, CultureInfo.InvariantCulture);
        if (value <= 0 || value % unit != 0)
        {
            throw new ValidationMetadataException($"{value} is no multiple of {unit}, and more than zero.");
        }
    }
}
