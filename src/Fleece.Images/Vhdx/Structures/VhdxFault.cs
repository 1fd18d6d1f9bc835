// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The errors of this driver: each names the field, its value, the file and what to do next.</summary>
internal static class VhdxFault
{
    public static BlockException Corrupt(string path, string what, long? offsetBytes = null) =>
        new(
            ImageErrors.Corrupt,
            $"The VHDX image '{path}' is damaged: {what}. Look at it with Test-FleeceImage, and restore it from a backup if " +
            "that can't repair it.",
            path,
            offsetBytes);

    public static BlockException Truncated(string path, string what) =>
        new(
            BlockErrors.Truncated,
            $"The VHDX image '{path}' is cut short: {what}. Copy it again from where it came, or restore it.",
            path);

    public static BlockException Unsupported(string path, string what) =>
        new(BlockErrors.Unsupported, $"The VHDX image '{path}' can't be used: {what}.", path);

    public static BlockException Invalid(string path, string what) =>
        new(BlockErrors.InvalidArgument, $"Cannot create the VHDX image '{path}': {what}.", path);

    public static BlockException Stopped(string path, BlockException cause) =>
        new(
            cause.Kind,
            $"The VHDX image '{path}' takes no more changes since its metadata could not be written: {cause.Message} What was " +
            "flushed before is safe: its log is replayed when the image is opened again.",
            path,
            cause: cause);
}
