// SPDX-License-Identifier: MIT
using Fleece.Images.Checking;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>What a finding means for a repair.</summary>
internal enum FindingCause
{
    /// <summary>A refcount is too high: the cluster, or a part of its count, is lost.</summary>
    Leak,

    /// <summary>A refcount is too low, or the refcount table or a block is damaged: all of it can be counted anew.</summary>
    Refcount,

    /// <summary>A "copied" flag does not say what the refcount says.</summary>
    Copied,

    /// <summary>Something that leads to data is damaged, so that clusters may look unused which are not.</summary>
    Mapping,

    /// <summary>A bit in the header says that a program left the image like this.</summary>
    Mark,
}

/// <summary>Collects findings: the first ones whole, all of them by number.</summary>
internal sealed class CheckLog
{
    private readonly long[] _counts = new long[Enum.GetValues<FindingCause>().Length];

    public List<ImageFinding> Findings { get; } = [];

    /// <summary>The first finding that a count anew does not mend.</summary>
    public ImageFinding? FirstMappingFault { get; private set; }

    public long LeakCount => Count(FindingCause.Leak);

    public long CorruptionCount => _counts.Sum() - LeakCount;

    public bool IsClean => _counts.Sum() == 0;

    /// <summary>Clusters that are counted and not used at all.</summary>
    public long UnusedClusters { get; set; }

    public long Count(FindingCause cause) => _counts[(int)cause];

    public void Add(FindingCause cause, string message, long? offsetBytes)
    {
        _counts[(int)cause]++;
        if (Findings.Count >= ImageReport.MaximumFindings && (cause != FindingCause.Mapping || FirstMappingFault is not null))
        {
            return;
        }

        ImageFinding finding = new(
            cause == FindingCause.Leak ? ImageFindingKind.Leak : ImageFindingKind.Corruption, message, offsetBytes);
        if (cause == FindingCause.Mapping)
        {
            FirstMappingFault ??= finding;
        }

        if (Findings.Count < ImageReport.MaximumFindings)
        {
            Findings.Add(finding);
        }
    }
}
