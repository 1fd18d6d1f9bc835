// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>Get-FleeceBitmap: the dirty bitmaps of mounted disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceBitmap")]
[OutputType(typeof(Bitmap))]
public sealed class GetFleeceBitmapCommand : FleeceCommand
{
    /// <summary>The disks' names, or the disks; all when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string[]? Disk { get; set; }

    /// <summary>The bitmaps' names, wildcards allowed; all when left out.</summary>
    [Parameter(Position = 1)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    public string[] Name { get; set; } = ["*"];

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string diskName in Disk ?? [.. Disks.All.Select(disk => disk.Name)])
        {
            ForItem(diskName, () =>
            {
                Disk disk = Disks.Find(diskName);
                foreach (string name in Name)
                {
                    ForItem(name, () => WriteObject(BitmapSelection.Find(disk, name), enumerateCollection: true));
                }
            });
        }
    }
}
