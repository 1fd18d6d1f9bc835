// SPDX-License-Identifier: MIT
namespace Fleece.Images.Checking;

/// <summary>Collects the findings of a check: the first ones whole, all of them by number.</summary>
/// <remarks>Threading. One thread checks an image.</remarks>
internal sealed class FindingList
{
    private readonly List<ImageFinding> _findings = [];
    private long _leaks;
    private long _corruptions;
    private long _repairedLeaks;
    private long _repairedCorruptions;

    /// <summary>True when further findings are only counted.</summary>
    public bool IsFull => _findings.Count == ImageReport.MaximumFindings;

    /// <summary>True when a corruption was found and not repaired.</summary>
    public bool HasCorruption => _corruptions != 0;

    /// <summary>As <see cref="ImageReport.LeakedBytes"/>.</summary>
    public long LeakedBytes { get; set; }

    public void Add(ImageFindingKind kind, string message, long? offsetBytes, bool isRepaired)
    {
        bool isLeak = kind == ImageFindingKind.Leak;
        ref long count = ref isLeak
            ? ref isRepaired ? ref _repairedLeaks : ref _leaks
            : ref isRepaired ? ref _repairedCorruptions : ref _corruptions;
        count++;
        if (!IsFull)
        {
            _findings.Add(new ImageFinding(kind, message, offsetBytes, isRepaired));
        }
    }

    public ImageReport ToReport(string path, ImageFormat format) => new()
    {
        Path = path,
        Format = format,
        LeakCount = _leaks,
        CorruptionCount = _corruptions,
        RepairedLeakCount = _repairedLeaks,
        RepairedCorruptionCount = _repairedCorruptions,
        LeakedBytes = LeakedBytes,
        Findings = _findings,
    };
}
