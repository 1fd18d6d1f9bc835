// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Container;

/// <summary>The errors that the formats share: each names the field, its value, the file and what to do next.</summary>
/// <param name="name">The format, as messages call it.</param>
/// <param name="afterStop">What to do when metadata could not be written; a whole sentence.</param>
internal sealed class FormatFault(string name, string afterStop)
{
    public static readonly FormatFault Qcow2 = new("qcow2", "Close it and run 'Test-FleeceImage -Repair Leaks' on it.");

    public static readonly FormatFault Vhd = new("VHD", "Close it and look at it with Test-FleeceImage.");

    public static readonly FormatFault Vhdx = new("VHDX", "Its log is replayed when the image is opened again.");

    public BlockException Corrupt(string path, string what, long? offsetBytes = null) => new(
        ImageErrors.Corrupt,
        $"The {name} image '{path}' is damaged: {what}. Look at it with Test-FleeceImage, and restore it from a backup if that can't " +
        "repair it.",
        path,
        offsetBytes);

    public BlockException Truncated(string path, string what) => new(
        BlockErrors.Truncated,
        $"The {name} image '{path}' is cut short: {what}. Copy it again from where it came, or restore it.",
        path);

    public BlockException Unsupported(string path, string what) =>
        new(BlockErrors.Unsupported, $"The {name} image '{path}' can't be used: {what}.", path);

    public BlockException CannotCreate(string path, string what) =>
        new(BlockErrors.InvalidArgument, $"Cannot create the {name} image '{path}': {what}.", path);

    /// <summary>Of the first failure's kind: after it nothing is changed any more (rule R7).</summary>
    public BlockException Stopped(string path, BlockException cause) => new(
        cause.Kind,
        $"The {name} image '{path}' takes no more changes since its metadata could not be written: {cause.Message} What was flushed " +
        $"before is safe. {afterStop}",
        path,
        cause: cause);
}
