// SPDX-License-Identifier: MIT
namespace Fleece.Images.Checking;

/// <summary>What a check found in an image.</summary>
public sealed record ImageReport
{
    /// <summary>Most findings that are kept one by one; the counts go on.</summary>
    public const int MaximumFindings = 1000;

    /// <summary>The file.</summary>
    public required string Path { get; init; }

    /// <summary>Its format.</summary>
    public required ImageFormat Format { get; init; }

    /// <inheritdoc cref="ImageInfo.IsRawByName"/>
    public bool IsRawByName { get; init; }

    /// <summary>True when nothing is wrong, or all of it was repaired.</summary>
    public bool IsClean => LeakCount == 0 && CorruptionCount == 0;

    /// <summary>Leaks that are left.</summary>
    public long LeakCount { get; init; }

    /// <summary>Corruptions that are left.</summary>
    public long CorruptionCount { get; init; }

    /// <summary>Leaks that were repaired.</summary>
    public long RepairedLeakCount { get; init; }

    /// <summary>Corruptions that were repaired.</summary>
    public long RepairedCorruptionCount { get; init; }

    /// <summary>Bytes of storage that nothing uses and that were not given back.</summary>
    public long LeakedBytes { get; init; }

    /// <summary>Allocation units the disk has; 0 where the format has none.</summary>
    public long TotalBlockCount { get; init; }

    /// <summary>Allocation units that store something.</summary>
    public long AllocatedBlockCount { get; init; }

    /// <summary>Allocation units that do not follow their predecessor in the file.</summary>
    public long FragmentedBlockCount { get; init; }

    /// <summary>Allocation units that are compressed.</summary>
    public long CompressedBlockCount { get; init; }

    /// <summary>The first <see cref="MaximumFindings"/> findings.</summary>
    public IReadOnlyList<ImageFinding> Findings { get; init => field = Array.AsReadOnly<ImageFinding>([.. value]); } = [];
}
