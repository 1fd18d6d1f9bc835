// SPDX-License-Identifier: MIT
using System.Collections;
using System.Globalization;
using System.Management.Automation;
using System.Management.Automation.Language;
using System.Numerics;
using System.Reflection;

namespace Fleece;

/// <summary>Takes the powers of two within bounds, and null for none; <see cref="PowerOfTwoCompleter"/> offers them.</summary>
/// <param name="minimum">The smallest of them.</param>
/// <param name="maximum">The largest of them.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ValidatePowerOfTwoAttribute(long minimum, long maximum) : ValidateArgumentsAttribute
{
    public long Minimum => minimum;

    public long Maximum => maximum;

    /// <inheritdoc/>
    protected override void Validate(object? arguments, EngineIntrinsics engineIntrinsics)
    {
        if (arguments is not null && Convert.ToInt64(arguments, CultureInfo.InvariantCulture) is var value &&
            (value < minimum || value > maximum || !BitOperations.IsPow2(value)))
        {
            throw new ValidationMetadataException($"A power of two from {minimum} to {maximum} is needed, and {value} is none.");
        }
    }
}

/// <summary>Offers what a parameter with <see cref="ValidatePowerOfTwoAttribute"/> takes, as PowerShell writes it: 64KB.</summary>
public sealed class PowerOfTwoCompleter : IArgumentCompleter
{
    private static readonly string[] Units = ["", "KB", "MB", "GB"];

    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters)
    {
        ValidatePowerOfTwoAttribute? sizes = typeof(PowerOfTwoCompleter).Assembly.GetTypes()
            .FirstOrDefault(type => type.GetCustomAttribute<CmdletAttribute>() is { } cmdlet &&
                $"{cmdlet.VerbName}-{cmdlet.NounName}".Equals(commandName, StringComparison.OrdinalIgnoreCase))
            ?.GetProperty(parameterName)?.GetCustomAttribute<ValidatePowerOfTwoAttribute>();
        for (long size = sizes?.Minimum ?? long.MaxValue; size <= sizes?.Maximum; size *= 2)
        {
            int unit = Math.Min(BitOperations.TrailingZeroCount(size) / 10, Units.Length - 1);
            string text = (size >> (10 * unit)).ToString(CultureInfo.InvariantCulture) + Units[unit];
            if (text.StartsWith(wordToComplete, StringComparison.OrdinalIgnoreCase))
            {
                yield return new CompletionResult(text);
            }
        }
    }
}
