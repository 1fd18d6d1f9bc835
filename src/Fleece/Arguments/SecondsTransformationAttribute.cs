// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>Takes a number for seconds, as PowerShell's own time limits do: without it, .NET takes 45 for 45 ticks of 100 ns, and "45" for
/// 45 days.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SecondsTransformationAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData)
    {
        if (inputData is null || !LanguagePrimitives.TryConvertTo(inputData, out double seconds))
        {
            return inputData;
        }

        try
        {
            return TimeSpan.FromSeconds(seconds);
        }
        catch (Exception e) when (e is OverflowException or ArgumentException)
        {
            throw new ArgumentTransformationMetadataException($"{inputData} seconds are more than a time can be.", e);
        }
    }
}
