// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;

namespace Fleece.Fuzz.Manifests;

/// <summary>Seals a text anew after a change, as any program can: what lies behind the seal is then judged.</summary>
internal static class SealMending
{
    private const string SealLine = "\n  \"seal\": \"";

    /// <summary>The text with the seal that fits it; as it is where it has none.</summary>
    public static byte[] Mend(byte[] text)
    {
        int at = text.AsSpan().LastIndexOf(Encoding.ASCII.GetBytes(SealLine));
        if (at < 0)
        {
            return text;
        }

        byte[] above = text[..(at + 1)];
        return [.. above, .. Encoding.ASCII.GetBytes($"{SealLine[1..]}{Convert.ToHexStringLower(SHA256.HashData(above))}\"\n}}\n")];
    }
}
