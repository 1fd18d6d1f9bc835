// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Get-FleeceBitmap: the dirty bitmaps of mounted disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceBitmap")]
[OutputType(typeof(BitmapInfo))]
public sealed class GetFleeceBitmapCommand : FleeceCommand
{
    /// <summary>The disks' names, wildcards allowed, or the disks; all when left out. A bitmap stands for itself.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference[]? Disk { get; set; }

    /// <summary>The bitmaps' names, wildcards allowed; all when left out.</summary>
    [Parameter(Position = 1)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference[]? Name { get; set; }

    /// <summary>Tell the ranges that may have changed too.</summary>
    [Parameter]
    public SwitchParameter Ranges { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference reference in Disk ?? [new("*")])
        {
            ForItem(reference.Name, () =>
            {
                foreach (DiskInfo disk in FindDisks(reference))
                {
                    foreach (BitmapReference name in Name ?? [reference.Bitmap ?? new("*")])
                    {
                        ForItem(name.Name, () => Write(disk, name));
                    }
                }
            });
        }
    }

    private void Write(DiskInfo disk, BitmapReference name)
    {
        foreach (BitmapInfo bitmap in BitmapSelection.Find(this, disk, name))
        {
            ForItem(bitmap.Name, () => WriteObject(Ranges ? WithRanges(disk, bitmap) : bitmap));
        }
    }

    private BitmapInfo WithRanges(DiskInfo disk, BitmapInfo bitmap) => Wait(Owner.Bitmaps.FindBitmapAsync(
        Same(disk), BitmapSelection.Same(bitmap), isExact: false, withRanges: true, StopToken))!;
}
