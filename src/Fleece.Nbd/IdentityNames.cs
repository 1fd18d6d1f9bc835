// SPDX-License-Identifier: MIT
using System.Text;

namespace Fleece.Nbd;

/// <summary>The identity of an export on the wire: names of contexts, "fleece:identity:KEY=VALUE", one for each pair.</summary>
/// <remarks>
/// A key is lower case letters. A value is escaped as in a URI: each byte of its UTF-8 is %XX, but for the unreserved characters of RFC
/// 3986, section 2.3, which stand for themselves. docs/nbd.md has the keys and says when they are listed.
/// </remarks>
internal static class IdentityNames
{
    /// <summary>The key whose value counts the clients of a disk at the moment. Every other value stays the same for as long as the export
    /// is the same.</summary>
    public const string Guests = "guests";

    /// <summary>Longest value in bytes of UTF-8, so that a name fits into a string of the protocol though each byte is escaped.</summary>
    public const int MaximumValueBytes = 1024;

    /// <summary>Most names of one export.</summary>
    public const int MaximumCount = 32;

    // Longer than any key of this version.
    private const int MaximumKeyLength = 32;

    /// <summary>True when a value can be told: not empty, not too long, no control characters, no half of a surrogate pair.</summary>
    public static bool CanTell(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return value.Length is > 0 and <= MaximumValueBytes && Encoding.UTF8.GetByteCount(value) <= MaximumValueBytes &&
            !value.Any(char.IsControl) && Uri.UnescapeDataString(Uri.EscapeDataString(value)) == value;
    }

    /// <summary>The name that tells a pair whose value <see cref="CanTell"/> allows.</summary>
    internal static string Encode(string key, string value) => $"{MetaContexts.FleeceIdentity}{key}={Uri.EscapeDataString(value)}";

    /// <summary>The pair that a name tells; false for a name that is not exactly what <see cref="Encode"/> makes of it.</summary>
    /// <param name="name">Begins with <see cref="MetaContexts.FleeceIdentity"/>.</param>
    /// <param name="key">The key.</param>
    /// <param name="value">What <see cref="CanTell"/> allows.</param>
    internal static bool TryDecode(string name, out string key, out string value)
    {
        string pair = name[MetaContexts.FleeceIdentity.Length..];
        int equals = Math.Max(0, pair.IndexOf('=', StringComparison.Ordinal));
        key = pair[..equals];
        value = Uri.UnescapeDataString(pair[Math.Min(equals + 1, pair.Length)..]);
        return key.Length is > 0 and <= MaximumKeyLength && key.All(char.IsAsciiLetterLower) && CanTell(value) &&
            Encode(key, value) == name;
    }
}
