// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Merge-FleeceBitmap: adds to a dirty bitmap what others have.</summary>
[Cmdlet(VerbsData.Merge, "FleeceBitmap", SupportsShouldProcess = true)]
[OutputType(typeof(BitmapInfo))]
public sealed class MergeFleeceBitmapCommand : SilentCommand
{
    /// <summary>The disk's name, or the disk.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>The bitmap that is added to.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference? Name { get; set; }

    /// <summary>The bitmaps that are added, wildcards allowed; they stay as they are.</summary>
    [Parameter(Mandatory = true, Position = 2)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference[] SourceName { get; set; } = [];

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Name!.Name, () =>
    {
        DiskInfo disk = FindDisk(Disk!);
        BitmapInfo[] sources =
            [.. SourceName.SelectMany(name => BitmapSelection.Find(this, disk, name)).DistinctBy(bitmap => bitmap.BitmapId)];
        string list = string.Join(", ", sources.Select(bitmap => bitmap.Name));
        if (ShouldProcess($"{disk.Name}: {Name}", $"Merge the dirty bitmaps {list}"))
        {
            BitmapInfo merged = Wait(Owner.Bitmaps.MergeBitmapsAsync(
                Same(disk), Name, [.. sources.Select(BitmapSelection.Same)], StopToken));
            Pass(() => merged);
        }
    });
}
