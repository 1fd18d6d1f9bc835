// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>Get-FleeceBitmap: the dirty bitmaps of mounted disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceBitmap")]
[OutputType(typeof(BitmapInfo))]
public sealed class GetFleeceBitmapCommand : FleeceCommand
{
    /// <summary>The disks' names, or the disks; all when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true)]
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
    public BitmapReference[] Name { get; set; } = [new("*")];

    /// <summary>Tell the ranges that may have changed too.</summary>
    [Parameter]
    public SwitchParameter Ranges { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference reference in Disk ?? [.. Disks.All.Select(disk => new DiskReference(disk.Name))])
        {
            ForItem(reference.Name, () =>
            {
                Disk disk = Disks.Find(reference);
                foreach (BitmapReference name in Name)
                {
                    ForItem(name.Name, () =>
                    {
                        foreach (Bitmap bitmap in BitmapSelection.Find(disk, name))
                        {
                            ForItem(bitmap.Name, () => WriteObject(new BitmapInfo(bitmap, Ranges)));
                        }
                    });
                }
            });
        }
    }
}
