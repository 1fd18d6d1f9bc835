// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Fleece.Block;

namespace Fleece.Backups.Manifests;

/// <summary>The seal of a manifest, and of a host's state: the SHA-256 (FIPS 180-4) of all its lines but the last two, which are the
/// seal and the closing brace.</summary>
/// <remarks>
/// <para>So it covers every byte of the file, and <c>head -n -2 FILE | sha256sum</c> computes it. It tells damage and edits. Any program
/// can compute it, so it does not tell which one wrote the file.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal static class ManifestSeal
{
    /// <summary>The field that holds it, the last one.</summary>
    public const string Field = "seal";

    /// <summary>What stands in the field until <see cref="Write"/>.</summary>
    public static readonly string Blank = new('0', HexLength);

    private const int HexLength = SHA256.HashSizeInBytes * 2;

    private static ReadOnlySpan<byte> Before => "\n  \"seal\": \""u8;

    private static ReadOnlySpan<byte> Behind => "\"\n}\n"u8;

    private static int LastLinesBytes => Before.Length - 1 + HexLength + Behind.Length;

    /// <summary>Puts the seal in the place of <see cref="Blank"/>.</summary>
    /// <param name="bytes">The whole file.</param>
    public static void Write(Span<byte> bytes)
    {
        Invariant.Require(HasSeal(bytes), "R5", "a file that is to be sealed ends with the place for its seal");
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes[..^LastLinesBytes], digest);
        Encoding.ASCII.GetBytes(Convert.ToHexStringLower(digest), bytes[^(HexLength + Behind.Length)..]);
    }

    /// <summary>Looks whether a file is what was sealed.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <returns>True when it is; false when it is not; null for a file without a seal.</returns>
    public static bool? Examine(ReadOnlySpan<byte> bytes)
    {
        if (!HasSeal(bytes))
        {
            return null;
        }

        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes[..^LastLinesBytes], digest);
        Span<byte> expected = stackalloc byte[HexLength];
        Encoding.ASCII.GetBytes(Convert.ToHexStringLower(digest), expected);
        return expected.SequenceEqual(bytes.Slice(bytes.Length - HexLength - Behind.Length, HexLength));
    }

    private static bool HasSeal(ReadOnlySpan<byte> bytes) =>
        bytes.Length > LastLinesBytes && bytes.EndsWith(Behind) && bytes[..^(HexLength + Behind.Length)].EndsWith(Before);
}
