// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;

namespace Fleece.Sessions.Bitmaps;

/// <summary>What a bitmap may be called.</summary>
internal static class BitmapNames
{
    /// <summary>Longest name. Source: qcow2.txt, "Bitmap directory", name_size.</summary>
    public const int MaximumBytes = 1023;

    /// <summary>Refuses names that an image can't hold, that could be taken for a pattern, or that could not be printed.</summary>
    public static void Check(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        MountedDisks.CheckName(name);
        int lengthBytes = Encoding.UTF8.GetByteCount(name);
        if (lengthBytes > MaximumBytes || name.Any(char.IsControl))
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                $"A bitmap's name has at most {MaximumBytes} bytes of UTF-8 and no control characters; this one has {lengthBytes} bytes. " +
                "Give another one.");
        }
    }
}
