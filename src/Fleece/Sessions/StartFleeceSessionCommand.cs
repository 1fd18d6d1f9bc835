// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Start-FleeceSession: pins one instant on one or several disks.</summary>
[Cmdlet(VerbsLifecycle.Start, "FleeceSession", SupportsShouldProcess = true, DefaultParameterSetName = DiskSet)]
[OutputType(typeof(SessionInfo))]
public sealed class StartFleeceSessionCommand : PinningCommand
{
    private readonly List<DiskReference> _disks = [];
    private BitmapReference? _bitmap;

    /// <summary>The disks' names, or the disks, those of guests too, or bitmaps of them, as with -Bitmap. All of them, piped
    /// or listed, get a session at the same instant.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = DiskSet)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument(TakesGuests = true)]
    [ValidateNotNull]
    public DiskReference[] Disk { get; set; } = [];

    /// <summary>The session's name, unique on its disk; by default the disk's name.</summary>
    [Parameter(Position = 1)]
    public string? Name { get; set; }

    /// <summary>
    /// Limits the snapshot to these ranges: objects with OffsetBytes and LengthBytes. They are widened to whole granules; what
    /// lies outside is never copied and never read.
    /// </summary>
    [Parameter]
    [AllowEmptyCollection]
    [RangeTransformation]
    public BlockRange[]? Range { get; set; }

    /// <summary>Limits the snapshot to what this bitmap has at the instant; the rest is never copied and never read.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference? Bitmap { get; set; }

    /// <summary>A bitmap to make, which records from the instant on. Stop-FleeceSession says what becomes of it.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? NextBitmap { get; set; }

    /// <summary>Names of several consumers, each of which reads at its own pace: a range is discarded when all of them have confirmed
    /// it.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string[] Consumer { get; set; } = [];

    /// <summary>A state directory in which the sessions are kept, so that Resume-FleeceSession takes them up after the end of this process.
    /// A host has its own.</summary>
    [Parameter(ParameterSetName = DiskSet)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? StatePath { get; set; }

    // An error of a guest may have no file, and the names of the devices say more than the socket that all of them share.
    private object? Target => Name ?? (_disks.Exists(disk => disk.QmpSocketPath is not null)
        ? _disks.Count == 1 ? _disks[0].Name : _disks.ConvertAll(disk => disk.Name).ToArray()
        : (object?)null);

    private string[] Names => ParameterSetName == GuestSet ? Device : Array.ConvertAll(Disk, disk => disk.Name);

    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(Names, () =>
    {
        foreach (DiskReference reference in ParameterSetName == GuestSet ? GuestDisks() : Disk)
        {
            DiskReference disk = reference.QmpSocketPath is null ? Same(FindDisk(reference)) : reference;
            BitmapReference? bitmap = Bitmap ?? reference.Bitmap;
            if (_disks.Count != 0 && bitmap?.Name != _bitmap?.Name)
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    "The sessions of one instant are limited to bitmaps of one name, or to none. Give disks and -Bitmap, or start them " +
                    "one by one.");
            }

            _bitmap = bitmap;
            _disks.Add(disk);
        }
    });

    /// <inheritdoc/>
    protected override void EndProcessing() => OrEnd(Target, () =>
    {
        SessionRequest request = SessionOf(_disks) with
        {
            Name = Name,
            Ranges = Range,
            Bitmap = _bitmap,
            NextBitmap = NextBitmap,
            Consumers = Consumer,
            StatePath = StatePath is null ? null : ResolveLiteral(StatePath),
        };
        if (!ShouldProcess(string.Join(", ", _disks.Select(disk => disk.Place)), "Start a session"))
        {
            return;
        }

        foreach (SessionInfo session in Wait(Owner.Sessions.StartSessionsAsync(request, StopToken)))
        {
            WriteObject(session);
            TellInstant(session);
            if (session.QmpSocketPath is not null)
            {
                // What a process that died had left in the guest's QEMU.
                SessionReference started = new(session.Id, session.InstantId);
                TellWarning(Wait(Owner.Sessions.TakeSessionWarningAsync(started, CancellationToken.None)));
            }
        }
    });
}
