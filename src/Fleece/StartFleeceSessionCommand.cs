// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Sessions;
using Fleece.Sessions.Exports;

namespace Fleece;

/// <summary>Start-FleeceSession: pins one instant on one or several disks.</summary>
[Cmdlet(VerbsLifecycle.Start, "FleeceSession", SupportsShouldProcess = true)]
[OutputType(typeof(Session))]
public sealed class StartFleeceSessionCommand : NetworkCommand
{
    private readonly List<Disk> _disks = [];

    /// <summary>The disks' names, or the disks. All of them, piped or listed, get a session at the same instant.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string[] Disk { get; set; } = [];

    /// <summary>The session's name, unique on its disk; by default the disk's name.</summary>
    [Parameter(Position = 1)]
    public string? Name { get; set; }

    /// <summary>
    /// Limits the snapshot to these ranges: objects with OffsetBytes and LengthBytes. They are widened to whole granules; what
    /// lies outside is never copied and never read.
    /// </summary>
    [Parameter]
    [AllowEmptyCollection]
    public object[]? Range { get; set; }

    /// <summary>Limits the snapshot to what this bitmap has at the instant; the rest is never copied and never read.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string? Bitmap { get; set; }

    /// <summary>A bitmap to make, which records from the instant on. Stop-FleeceSession says what becomes of it.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? NextBitmap { get; set; }

    /// <summary>Names of several consumers, each of which reads at its own pace: a range is discarded when all of them have confirmed
    /// it.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string[] Consumer { get; set; } = [];

    /// <summary>Where old data goes: an image, a new file, a folder, or an NBD URI; by default a file beside the disk's image.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? TempPath { get; set; }

    /// <summary>The unit of copying: 512 B to 2 MiB, a power of two.</summary>
    [Parameter]
    public int GranuleSizeBytes { get; set; } = PointInTime.DefaultGranuleSizeBytes;

    /// <summary>Who loses when old data can't be kept: the snapshot, or the guest's write.</summary>
    [Parameter]
    public CopyErrorPolicy OnCopyError { get; set; } = CopyErrorPolicy.BreakSnapshot;

    /// <summary>Longest time a guest's write waits for its old data to be copied, more than zero; as long as it takes when left
    /// out.</summary>
    [Parameter]
    public TimeSpan? CopyTimeout { get; set; }

    /// <summary>Most old data kept in temp at a time, at least one granule; no limit when left out.</summary>
    [Parameter]
    public long? TempLimitBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(Disk, () =>
    {
        foreach (string name in Disk)
        {
            _disks.Add(Disks.Find(name));
        }
    });

    /// <inheritdoc/>
    protected override void EndProcessing() => OrEnd(Name, () =>
    {
        SessionOptions options = new()
        {
            Name = Name,
            Ranges = GetRanges(),
            Bitmap = Bitmap,
            NextBitmap = NextBitmap,
            Consumers = Consumer,
            TempPath = TempPath is null ? null : ResolveTemp(TempPath),
            Tls = ClientTls,
            GranuleSizeBytes = GranuleSizeBytes,
            OnCopyError = OnCopyError,
            Limits = new CopyLimits { Timeout = CopyTimeout, TempBytes = TempLimitBytes },
        };
        if (ShouldProcess(string.Join(", ", _disks), "Start a session"))
        {
            WriteObject(Wait(Session.StartAsync(_disks, options, StopToken)), enumerateCollection: true);
        }
    });

    // Old data that came back to its own disk as a guest's write would have to be copied first, for ever.
    private string ResolveTemp(string tempPath)
    {
        string address = ResolveAddress(tempPath);
        foreach (DiskExport export in _disks.SelectMany(Disks.Exports.Of).Where(export => !export.IsSnapshotOnly))
        {
            if (address == export.Uri.ToString() || address == export.Uri.WithExport(string.Empty).ToString())
            {
                throw new BlockException(
                    BlockErrorKind.TempIsDisk,
                    $"The temp image '{address}' is the disk '{export.Disk}' itself. Name another one with -TempPath.",
                    address);
            }
        }

        return address;
    }

    // A pipeline without output binds as null. "No range" must not become "the whole disk" by that.
    private BlockRange[]? GetRanges() =>
        MyInvocation.BoundParameters.ContainsKey(nameof(Range)) ? Array.ConvertAll(Range ?? [], RangeArgument.Parse) : null;
}
