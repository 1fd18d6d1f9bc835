// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;

namespace Fleece;

/// <summary>Wildcards over names, checked when they are given rather than when the first name is compared.</summary>
internal static class NamePattern
{
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: PowerShell cannot read it.</exception>
    public static WildcardPattern Parse(string text)
    {
        WildcardPattern pattern = new(text, WildcardOptions.IgnoreCase);
        try
        {
            pattern.IsMatch(string.Empty);
            return pattern;
        }
        catch (WildcardPatternException e)
        {
            throw new BlockException(BlockErrors.InvalidArgument, $"'{text}' is no wildcard pattern.", cause: e);
        }
    }
}
