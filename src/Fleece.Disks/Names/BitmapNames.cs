// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;
using Fleece.Block;

namespace Fleece.Disks.Names;

/// <summary>What a bitmap may be called.</summary>
internal static class BitmapNames
{
    /// <summary>Longest name. Source: qcow2.txt, "Bitmap directory", name_size.</summary>
    public const int MaximumBytes = 1023;

    /// <summary>Reads a name of the sidecar; false for bytes that no name can be: none, more than 1023, a NUL, no UTF-8.</summary>
    /// <remarks>Bytes that are no UTF-8 would be replaced by longer ones, and not fit where they are written back.</remarks>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out string? name)
    {
        name = null;
        if (bytes.Length is 0 or > MaximumBytes || bytes.Contains((byte)0) || !Utf8.IsValid(bytes))
        {
            return false;
        }

        name = Encoding.UTF8.GetString(bytes);
        return true;
    }

    /// <summary>True for a name that <see cref="Check"/> lets pass.</summary>
    public static bool IsAllowed(string name)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(name);
        return ObjectNames.IsName(name) && bytes.Length <= MaximumBytes && Encoding.UTF8.GetString(bytes) == name;
    }

    /// <summary>Refuses names that an image can't hold, that could be taken for a pattern, or that could not be printed.</summary>
    public static void Check(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        ObjectNames.Check(name);
        int lengthBytes = Encoding.UTF8.GetByteCount(name);
        if (!IsAllowed(name))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A bitmap's name has at most {MaximumBytes} bytes of UTF-8; this one has {lengthBytes} bytes. Give another one.");
        }
    }
}
