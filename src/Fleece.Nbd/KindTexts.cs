// SPDX-License-Identifier: MIT
namespace Fleece.Nbd;

/// <summary>The text of an error that tells its kind too: "KIND: TEXT". The protocol's numbers are fewer than the engine's kinds.</summary>
/// <remarks>Only exports with <see cref="Server.Exports.NbdExport.TellsKinds"/> send it, and only clients that are told to read it do.
/// </remarks>
internal static class KindTexts
{
    private const string Separator = ": ";

    /// <summary>The text of an error with its kind.</summary>
    public static string Join(string kind, string text) => $"{kind}{Separator}{text}";

    /// <summary>The kind and the text; false for a text without a kind.</summary>
    public static bool TrySplit(string joined, out string kind, out string text)
    {
        int end = joined.IndexOf(Separator, StringComparison.Ordinal);
        kind = joined[..Math.Max(0, end)];
        text = joined[(kind.Length == 0 ? 0 : end + Separator.Length)..];
        return kind.Length != 0 && kind.All(char.IsAsciiLetter);
    }
}
