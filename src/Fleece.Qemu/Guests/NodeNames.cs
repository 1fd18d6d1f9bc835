// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Fleece.Qemu.Guests;

/// <summary>The names of what Fleece adds to a QEMU. They say whose they are, so that what a dead process left is found.</summary>
/// <remarks>A node-name has at most 31 characters (QEMU's QMP reference, "node-name"): "fleece-", the first 8 digits
/// of the instant's id, "-",
/// the number of the disk in its session, "-", and the part.</remarks>
internal static class NodeNames
{
    private const string Prefix = "fleece-";
    private const int IdLength = 8;

    /// <summary>The session's part of all its names.</summary>
    public static string SessionOf(Guid instantId) => instantId.ToString("N")[..IdLength];

    /// <summary>A name.</summary>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="diskIndex">The disk in the session, from 0.</param>
    /// <param name="part">A short word of lower-case letters.</param>
    public static string Of(Guid instantId, int diskIndex, string part) => $"{Prefix}{SessionOf(instantId)}-{diskIndex}-{part}";

    /// <summary>Takes a name apart.</summary>
    public static bool TryParse(
        string name, [NotNullWhen(true)] out string? session, out int diskIndex, [NotNullWhen(true)] out string? part)
    {
        session = part = null;
        diskIndex = 0;
        string[] parts = name.Split('-');
        if (parts is not ["fleece", { Length: IdLength } id, { } index, { Length: > 0 } word] || !id.All(char.IsAsciiHexDigitLower) ||
            !int.TryParse(index, out diskIndex))
        {
            return false;
        }

        (session, part) = (id, word);
        return true;
    }
}
