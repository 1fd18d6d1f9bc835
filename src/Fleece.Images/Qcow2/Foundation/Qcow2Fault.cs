// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2.Foundation;

/// <summary>The errors of this format alone, beside those of <see cref="FormatFault"/>.</summary>
internal static class Qcow2Fault
{
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
    public static BlockException UnusableEntry(string path, long offsetBytes) => FormatFault.Qcow2.Corrupt(
        path,
        $"the L2 entry of disk offset {offsetBytes} has reserved bits, or points at no cluster of the file, or " +
        "at the image's own tables",
        offsetBytes);
}
