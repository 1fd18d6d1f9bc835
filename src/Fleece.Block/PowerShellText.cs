// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;

namespace Fleece.Block;

/// <summary>Names and paths as they stand in a command of PowerShell, so that a user can run what a message suggests.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal static class PowerShellText
{
    private static readonly SearchValues<char> Plain =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-");

    /// <summary>Text as one argument: as it is where PowerShell takes it for that, and else as a literal.</summary>
    public static string Argument(string text) =>
        text.Length != 0 && text[0] != '-' && !text.AsSpan().ContainsAnyExcept(Plain) ? text : Literal(text);

    /// <summary>Text as one literal, in which nothing is expanded.</summary>
    /// <remarks>about_Quoting_Rules: a single quote is doubled, and PowerShell takes four typographic ones for it as well.</remarks>
    public static string Literal(string text)
    {
        StringBuilder literal = new("'", text.Length + 8);
        foreach (char character in text)
        {
            literal.Append(character);
            if (character is '\'' or '\u2018' or '\u2019' or '\u201a' or '\u201b')
            {
                literal.Append(character);
            }
        }

        return literal.Append('\'').ToString();
    }
}
