// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>New-FleeceBitmap: makes dirty bitmaps that record from now on.</summary>
[Cmdlet(VerbsCommon.New, "FleeceBitmap", SupportsShouldProcess = true)]
[OutputType(typeof(BitmapInfo))]
public sealed class NewFleeceBitmapCommand : FleeceCommand
{
    /// <summary>The disks' names, or the disks; each gets a bitmap of the name.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference[] Disk { get; set; } = [];

    /// <summary>The bitmap's name, unique on its disk, at most 1023 bytes of UTF-8.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string Name { get; set; } = string.Empty;

    /// <summary>Bytes of the disk for one bit: 512 B to 2 GiB, a power of two.</summary>
    [Parameter]
    [ValidatePowerOfTwo(512, 2L * 1024 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public long GranularityBytes { get; set; } = DirtyBitmap.DefaultGranularityBytes;

    /// <summary>Record nothing until the bitmap is enabled.</summary>
    [Parameter]
    public SwitchParameter Disabled { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference reference in Disk)
        {
            ForItem(reference.Name, () =>
            {
                DiskInfo disk = FindDisk(reference);
                if (ShouldProcess($"{disk.Name}: {Name}", "Make a dirty bitmap"))
                {
                    CreatedBitmap created = Wait(Owner.Bitmaps.CreateBitmapAsync(
                        Same(disk), Name, GranularityBytes, !Disabled, StopToken));
                    WriteObject(created.Bitmap);
                    if (created.JournalFault is { } fault)
                    {
                        WriteWarning($"The bitmap would not survive the end of this process before the disk is dismounted. {fault}");
                    }
                }
            });
        }
    }
}
