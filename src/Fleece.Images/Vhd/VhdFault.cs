// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Vhd;

/// <summary>The errors of this driver: each names the field, its value, the file and what to do next.</summary>
internal static class VhdFault
{
    public static BlockException Corrupt(string path, string what, long? offsetBytes = null) =>
        new(
            ImageErrors.Corrupt,
            $"The VHD image '{path}' is damaged: {what}. Look at it with Test-FleeceImage, and restore it from a backup if " +
            "that can't repair it.",
            path,
            offsetBytes);

    public static BlockException Truncated(string path, string what) =>
        new(
            BlockErrors.Truncated,
            $"The VHD image '{path}' is cut short: {what}. Copy it again from where it came, or restore it.",
            path);

    public static BlockException Unsupported(string path, string what) =>
        new(BlockErrors.Unsupported, $"The VHD image '{path}' can't be used: {what}.", path);

    public static BlockException CannotCreate(string path, string what) =>
        new(BlockErrors.InvalidArgument, $"Cannot create the VHD image '{path}': {what}.", path);

    public static BlockException WrongFormat(string path) =>
        new(
            ImageErrors.WrongFormat,
            $"'{path}' is not a VHD image: neither its first nor its last sector holds the cookie 'conectix'. Name the right " +
            "format with -Format, or leave it out.",
            path);

    public static BlockException Stopped(string path, BlockException cause) =>
        new(
            cause.Kind,
            $"The VHD image '{path}' takes no more changes since its metadata could not be written: {cause.Message} What was " +
            "flushed before is safe. Close it and look at it with Test-FleeceImage.",
            path,
            cause: cause);
}
