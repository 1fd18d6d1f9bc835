// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Disks;
using Fleece.Disks.Records;

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
        Disk disk = Disks.Find(Disk!);
        string target = Name.NameOn(disk);
        string[] sources = [.. SourceName.SelectMany(name => BitmapSelection.Find(disk, name)).Select(bitmap => bitmap.Name).Distinct()];
        if (ShouldProcess($"{disk.Name}: {target}", $"Merge the dirty bitmaps {string.Join(", ", sources)}"))
        {
            Wait(disk.Bitmaps.MergeAsync(target, sources, StopToken));
            Pass(() => new BitmapInfo(disk.Bitmaps.Find(target)));
        }
    });
}
