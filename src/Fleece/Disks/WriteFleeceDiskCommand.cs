// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Write-FleeceDisk: the guest's writes from a script.</summary>
[Cmdlet(VerbsCommunications.Write, "FleeceDisk", SupportsShouldProcess = true, ConfirmImpact = ConfirmImpact.Low)]
[OutputType(typeof(DiskInfo))]
public sealed class WriteFleeceDiskCommand : SilentCommand
{
    /// <summary>The disk's name, or the disk.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>First byte.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [ValidateRange(0, long.MaxValue)]
    public long OffsetBytes { get; set; }

    /// <summary>The bytes to write.</summary>
    [Parameter(Mandatory = true, Position = 2)]
    [AllowEmptyCollection]
    public byte[] Data { get; set; } = [];

    /// <summary>Return only when the bytes are durable (FUA).</summary>
    [Parameter]
    public SwitchParameter ForceUnitAccess { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk!.Name, () =>
    {
        DiskInfo disk = FindDisk(Disk);
        if (ShouldProcess(disk.Name, $"Write {Data.Length} bytes at offset {OffsetBytes}"))
        {
            OpenedDisk opened = Wait(Owner.OpenDiskAsync(Same(disk) with { IsToWrite = true }, StopToken));
            try
            {
                Wait(opened.Device.WriteAsync(
                    OffsetBytes, Data, ForceUnitAccess ? WriteFlags.ForceUnitAccess : WriteFlags.None, StopToken));
            }
            finally
            {
                Wait(opened.DisposeAsync());
            }

            Pass(() => FindDisk(Same(disk)));
        }
    });
}
