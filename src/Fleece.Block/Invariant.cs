// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Fleece.Block;

/// <summary>Checks that stay on in release builds (rule R7): they throw, and never end the process.</summary>
internal static class Invariant
{
    /// <summary>Throws <see cref="BlockErrors.InvariantBroken"/> when the condition does not hold.</summary>
    /// <param name="condition">What must hold.</param>
    /// <param name="rule">The rule or invariant, as the design numbers it.</param>
    /// <param name="text">What the rule says here.</param>
    public static void Require([DoesNotReturnIf(false)] bool condition, string rule, string text)
    {
        if (!condition)
        {
            throw new BlockException(
                BlockErrors.InvariantBroken,
                $"Internal rule {rule} did not hold: {text}. This is a defect of Fleece; no further request is accepted " +
                "here. Please report it.");
        }
    }
}
