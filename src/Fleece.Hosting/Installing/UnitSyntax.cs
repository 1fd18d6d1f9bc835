// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Fleece.Hosting.Installing;

/// <summary>Values as they stand in a unit of systemd.</summary>
/// <remarks>systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers"; systemd.service(5), "Command lines".</remarks>
internal static class UnitSyntax
{
    /// <summary>A path, or the program of a command, as one word: no space splits it and no % stands for another text.</summary>
    public static string Word(string text) => Quote(text, isArgument: false);

    /// <summary>An argument of a command as one word: as <see cref="Word"/>, and no $ stands for a variable.</summary>
    public static string Argument(string text) => Quote(text, isArgument: true);

    private static string Quote(string text, bool isArgument)
    {
        StringBuilder quoted = new("\"", text.Length + 8);
        foreach (char character in text)
        {
            switch (character)
            {
                case '"' or '\\':
                    quoted.Append('\\').Append(character);
                    break;
                case '%':
                    quoted.Append("%%");
                    break;
                case '$' when isArgument:
                    quoted.Append("$$");
                    break;
                case < ' ' or '\u007f':
                    quoted.Append(CultureInfo.InvariantCulture, $"\\x{(int)character:x2}");
                    break;
                default:
                    quoted.Append(character);
                    break;
            }
        }

        return quoted.Append('"').ToString();
    }
}
