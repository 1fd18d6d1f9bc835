// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fleece.TestKit;

namespace Fleece.Fuzz.Manifests;

/// <summary>Changes a manifest where it means something: whole fields and extents go, come twice or from another manifest, and numbers
/// become others.</summary>
internal static partial class LineMutator
{
    private static readonly string[] Values =
    [
        "null", "true", "[]", "{}", "1e999", "-1", "0", "9223372036854775807", "9223372036854775808", "0.5", "\"\"", "\"\\ud800\"",
        "\"../x\"", "[[[[[[[[[1]]]]]]]]]", "\"Kept\"", "\"Merging\"", "\"Merged\"", "\"Raw\"", "\"Vhd\"", "1", "2",
    ];

    /// <summary>Changes one or two lines.</summary>
    /// <param name="random">Chance.</param>
    /// <param name="text">The manifest.</param>
    /// <param name="other">Another one, to take lines from.</param>
    public static byte[] Mutate(Seeds random, byte[] text, byte[] other)
    {
        List<string> lines = LinesOf(text);
        List<string> others = LinesOf(other);
        for (int rest = 1 + random.Next(2); rest > 0; rest--)
        {
            int content = Math.Max(0, lines.FindIndex(line => line.Contains("content\":", StringComparison.Ordinal)));
            int at = random.Chance(50) ? random.Next(lines.Count) : content + random.Next(lines.Count - content);
            switch (random.Next(6))
            {
                case 0:
                    lines.RemoveAt(at);
                    break;
                case 1:
                    lines.Insert(random.Next(lines.Count), lines[at]);
                    break;
                case 2:
                    lines[at] = others[Math.Min(at, others.Count - 1)];
                    break;
                case 3:
                    lines[at] = Value().Replace(lines[at], $": {Values[random.Next(Values.Length)]}", 1);
                    break;
                case 4:
                    lines[at] = Extent().Replace(lines[at], match => random.Chance(50) ? string.Empty : match.Value, 2);
                    break;
                default:
                    lines[at] = Number().Replace(lines[at], match => NumberFrom(random, match.Value));
                    break;
            }
        }

        return Encoding.Latin1.GetBytes(string.Join('\n', lines));
    }

    private static List<string> LinesOf(byte[] text) => [.. Encoding.Latin1.GetString(text).Split('\n')];

    private static string NumberFrom(Seeds random, string text) =>
        random.Chance(50) || !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? text
        : random.Chance(50) ? (number + random.Pick(-65536, -512, -1, 1, 512, 65536)).ToString(CultureInfo.InvariantCulture)
        : random.NextBits().ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(": [^,]+")]
    private static partial Regex Value();

    [GeneratedRegex("""\[[0-9]+,[0-9]+(,"[0-9a-f]+")?\],?|,"[0-9a-f]{64}(?="\])"?""")]
    private static partial Regex Extent();

    [GeneratedRegex(@"\b[0-9]+\b")]
    private static partial Regex Number();
}
