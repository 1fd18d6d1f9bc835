// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;

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
        Disk disk = Disks.Find(Disk);
        if (ShouldProcess(disk.Name, $"Write {Data.Length} bytes at offset {OffsetBytes}"))
        {
            Wait(disk.Device.WriteAsync(
                OffsetBytes, Data, ForceUnitAccess ? WriteFlags.ForceUnitAccess : WriteFlags.None, StopToken));
            Pass(() => new DiskInfo(disk));
        }
    });
}
