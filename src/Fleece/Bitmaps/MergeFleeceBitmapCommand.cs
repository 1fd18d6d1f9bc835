// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>Merge-FleeceBitmap: adds to a dirty bitmap what others have.</summary>
[Cmdlet(VerbsData.Merge, "FleeceBitmap", SupportsShouldProcess = true)]
[OutputType(typeof(Bitmap))]
public sealed class MergeFleeceBitmapCommand : SilentCommand
{
    /// <summary>The disk's name, or the disk.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string Disk { get; set; } = string.Empty;

    /// <summary>The bitmap that is added to.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    public string Name { get; set; } = string.Empty;

    /// <summary>The bitmaps that are added, wildcards allowed; they stay as they are.</summary>
    [Parameter(Mandatory = true, Position = 2)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    public string[] SourceName { get; set; } = [];

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Name, () =>
    {
        Disk disk = Disks.Find(Disk);
        string[] sources = [.. SourceName.SelectMany(name => BitmapSelection.Find(disk, name)).Select(bitmap => bitmap.Name).Distinct()];
        if (ShouldProcess($"{disk.Name}: {Name}", $"Merge the dirty bitmaps {string.Join(", ", sources)}"))
        {
            Wait(disk.Bitmaps.MergeAsync(Name, sources, StopToken));
            Pass(disk.Bitmaps.Find(Name));
        }
    });
}
