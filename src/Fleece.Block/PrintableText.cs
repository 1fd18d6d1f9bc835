// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Fleece.Block;

/// <summary>Text that may hold a stranger's: names of files and exports, a server's error, what an image or a manifest says.</summary>
/// <remarks>
/// A terminal obeys control characters, and shows text behind some formatting characters in another order. So every message is made
/// printable where it is made, a public property gives a stranger's text in this form, and names with such characters are refused where
/// they are given. Two texts may have one printable form, so none is compared or opened by it where the exact one is known.
/// The views of Fleece.Format.ps1xml call it, so it is public.
/// Threading. All members are safe from any thread.
/// </remarks>
public static class PrintableText
{
    // C0, DEL and C1; line and paragraph separators; and what embeds, overrides or isolates a direction (Unicode UAX #9, section 2).
    private static readonly SearchValues<char> Unprintable = SearchValues.Create(
    [
        .. Between('\u0000', '\u001f'),
        .. Between('\u007f', '\u009f'),
        .. Between('\u2028', '\u202e'),
        .. Between('\u2066', '\u2069'),
    ]);

    /// <summary>True for text that a terminal shows as it is.</summary>
    public static bool IsPrintable(ReadOnlySpan<char> text) => !text.ContainsAny(Unprintable);

    /// <summary>The text with each character that is not printable written as its number, <c>\u001b</c>; the same object where it has none.
    /// Null for null.</summary>
    [return: NotNullIfNotNull(nameof(text))]
    public static string? Of(string? text)
    {
        if (text is null || IsPrintable(text))
        {
            return text;
        }

        StringBuilder shown = new(text.Length + 16);
        foreach (char character in text)
        {
            if (Unprintable.Contains(character))
            {
                shown.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}");
            }
            else
            {
                shown.Append(character);
            }
        }

        return shown.ToString();
    }

    private static IEnumerable<char> Between(char first, char last) =>
        Enumerable.Range(first, last - first + 1).Select(number => (char)number);
}
