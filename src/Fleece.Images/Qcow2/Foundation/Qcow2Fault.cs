// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2.Foundation;

/// <summary>The errors of this driver: each names the field, its value, the file and what to do next.</summary>
internal static class Qcow2Fault
{
    public static BlockException Corrupt(string path, string what, long? offsetBytes = null) =>
        new(
            ImageErrors.Corrupt,
            $"The qcow2 image '{path}' is damaged: {what}. See what 'Test-FleeceImage' finds and can repair, or " +
            "restore it from a backup.",
            path,
            offsetBytes);

    /// <summary>Data that a check, which looks at the tables alone, calls good.</summary>
    public static BlockException DamagedData(string path, string what, long offsetBytes) =>
        new(
            ImageErrors.Corrupt,
            $"The qcow2 image '{path}' has damaged data: {what}. A check looks at the tables alone and does not find it, and nothing " +
            "repairs it: restore the image, or this part of the disk, from a backup.",
            path,
            offsetBytes);

    /// <summary>Refcounts and mappings do not agree, so nothing may be changed there.</summary>
    public static BlockException Contradicted(string path, string what, long offsetBytes) =>
        new(
            ImageErrors.Corrupt,
            $"The qcow2 image '{path}' is not changed here because its refcounts are wrong: {what}. Repair it with " +
            "'Test-FleeceImage -Repair All'.",
            path,
            offsetBytes);

    /// <summary>A request meets an L2 entry that contradicts the format.</summary>
    public static BlockException UnusableEntry(string path, long offsetBytes) => Corrupt(
        path,
        $"the L2 entry of disk offset {offsetBytes} has reserved bits, or points at no cluster of the file, or " +
        "at the image's own tables",
        offsetBytes);

    public static BlockException Truncated(string path, string what) =>
        new(
            BlockErrors.Truncated,
            $"The qcow2 image '{path}' is cut short: {what}. Copy it again from where it came, or restore it.",
            path);

    public static BlockException Unsupported(string path, string what) =>
        new(BlockErrors.Unsupported, $"The qcow2 image '{path}' can't be used: {what}.", path);

    public static BlockException Stopped(string path, BlockException cause) =>
        new(
            cause.Kind,
            $"The qcow2 image '{path}' takes no more changes since its metadata could not be written: " +
            $"{cause.Message} What was flushed before is safe. Close it and run 'Test-FleeceImage -Repair Leaks' on it.",
            path,
            cause: cause);
}
