// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>What the cmdlets share that pin an instant: where its old data goes, and what that may cost.</summary>
public abstract class PinningCommand : NetworkCommand
{
    /// <summary>Where old data goes: an image, a new file, a folder, or an NBD URI; by default a file beside the disk's image.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? TempPath { get; set; }

    /// <summary>The unit of copying: 512 B to 2 MiB, a power of two; by default 4 KiB, or more where the disk or temp demands it.</summary>
    [Parameter]
    [ValidatePowerOfTwo(512, 2 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int? GranuleSizeBytes { get; set; }

    /// <summary>Who loses when old data can't be kept: the snapshot, or the guest's write.</summary>
    [Parameter]
    public CopyErrorPolicy OnCopyError { get; set; } = CopyErrorPolicy.BreakSnapshot;

    /// <summary>Longest time a guest's write waits for its old data to be copied, more than zero; a number means seconds. As long as it
    /// takes when left out.</summary>
    [Parameter]
    [SecondsTransformation]
    public TimeSpan? CopyTimeout { get; set; }

    /// <summary>Most old data kept in temp at a time, at least one granule; no limit when left out.</summary>
    [Parameter]
    [ValidateRange(512, long.MaxValue)]
    public long? TempLimitBytes { get; set; }

    /// <summary>What these parameters say of sessions.</summary>
    private protected SessionRequest SessionOf(params IReadOnlyList<DiskReference> disks) => new()
    {
        Disks = disks,
        TempPath = TempPath is null ? null : ResolveAddress(TempPath),
        Tls = RequestedTls,
        GranuleSizeBytes = GranuleSizeBytes,
        OnCopyError = OnCopyError,
        CopyTimeout = CopyTimeout,
        TempLimitBytes = TempLimitBytes,
    };
}
