// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>What the cmdlets share that pin an instant: of which guest's disks, how quiet it is, where old data goes, and what that may
/// cost.</summary>
public abstract class PinningCommand : NetworkCommand
{
    private protected const string DiskSet = "Disk";
    private protected const string GuestSet = "Guest";

    /// <summary>The QMP socket of the QEMU that runs the guest whose disks are meant.</summary>
    [Parameter(Mandatory = true, ParameterSetName = GuestSet)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string QmpSocketPath { get; set; } = string.Empty;

    /// <summary>The guest's devices, all of which are pinned at the same instant.</summary>
    [Parameter(Mandatory = true, ParameterSetName = GuestSet)]
    [ArgumentCompleter(typeof(DeviceNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string[] Device { get; set; } = [];

    /// <summary>The address at which the guest's QEMU serves NBD for others, where it does: the snapshots are served there too.</summary>
    [Parameter(ParameterSetName = GuestSet)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? NbdServerUri { get; set; }

    /// <summary>Have the guest's agent freeze its file systems for the instant.</summary>
    [Parameter]
    public SwitchParameter QuiesceGuest { get; set; }

    /// <summary>The socket of the guest's agent, which then freezes the file systems; by default the one that the guest's QEMU has for it.
    /// </summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? AgentSocketPath { get; set; }

    /// <summary>Longest time that the file systems stay frozen, whatever happens; a number means seconds. 10 seconds when left out.
    /// </summary>
    [Parameter]
    [SecondsTransformation]
    public TimeSpan? FreezeTimeout { get; set; }

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

    /// <summary>How much of -TempLimitBytes is taken when the session warns, in percent; 80 when left out.</summary>
    [Parameter]
    [ValidateRange(1, 99)]
    public int? TempWarningPercent { get; set; }

    /// <summary>Longest time for which a guest's write is held back while temp fills from the warning to its limit, 1 ms to 10 s; a number
    /// means seconds. Not at all when left out.</summary>
    [Parameter]
    [SecondsTransformation]
    public TimeSpan? MaxGuestDelay { get; set; }

    /// <summary>The devices that -QmpSocketPath and -Device mean.</summary>
    private protected IReadOnlyList<DiskReference> GuestDisks()
    {
        string socketPath = ResolveLiteral(QmpSocketPath);
        return [.. Device.Select(device => new DiskReference(device) { QmpSocketPath = socketPath })];
    }

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
        TempWarningPercent = TempWarningPercent,
        MaxGuestDelay = MaxGuestDelay,
        Quiesce = RequestedQuiet(),
        NbdServerUri = NbdServerUri is null ? null : ResolveAddress(NbdServerUri),
    };

    /// <summary>Says with -Verbose what the guest felt of an instant.</summary>
    private protected void TellInstant(SessionInfo session)
    {
        if (session.QmpSocketPath is not null)
        {
            WriteVerbose(
                $"'{session.Id}': the guest's processors " +
                (session.GuestPause is { } pause ? $"stood still for {pause.TotalMilliseconds:0} ms." : "did not stand still."));
        }

        if (session.IsQuiesced)
        {
            WriteVerbose($"'{session.Id}': the guest's agent had frozen its file systems at the instant.");
        }
    }

    private QuiesceOptions? RequestedQuiet()
    {
        if (!QuiesceGuest && AgentSocketPath is null)
        {
            return FreezeTimeout is null ? null : throw new BlockException(
                BlockErrors.InvalidArgument,
                "-FreezeTimeout says how long a guest stays frozen, and nothing freezes it. Add -QuiesceGuest.");
        }

        return new QuiesceOptions(
            AgentSocketPath is null ? null : ResolveLiteral(AgentSocketPath), FreezeTimeout ?? QuiesceOptions.DefaultTimeout);
    }
}
