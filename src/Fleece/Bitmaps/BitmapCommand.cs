// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>What the cmdlets share that change the bitmaps of a disk one by one.</summary>
[OutputType(typeof(Bitmap))]
public abstract class BitmapCommand : SilentCommand
{
    /// <summary>The disk's name, or the disk.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string Disk { get; set; } = string.Empty;

    /// <summary>The bitmaps' names, wildcards allowed.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    public string[] Name { get; set; } = [];

    /// <summary>What -WhatIf says is done.</summary>
    private protected abstract string Action { get; }

    /// <summary>Whether the user wants that of this bitmap, where it may be a mistake.</summary>
    private protected virtual bool IsWanted(Bitmap bitmap) => true;

    /// <summary>Does it.</summary>
    private protected abstract ValueTask ChangeAsync(DiskBitmaps bitmaps, string name);

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk, () =>
    {
        Disk disk = Disks.Find(Disk);
        foreach (string name in Name)
        {
            ForItem(name, () =>
            {
                foreach (Bitmap bitmap in BitmapSelection.FindOwn(disk, name))
                {
                    if (ShouldProcess($"{disk.Name}: {bitmap.Name}", Action) && IsWanted(bitmap))
                    {
                        Wait(ChangeAsync(disk.Bitmaps, bitmap.Name));
                        Pass(bitmap);
                    }
                }
            });
        }
    });
}

/// <summary>Which bitmaps a user's name means.</summary>
internal static class BitmapSelection
{
    /// <summary>As <see cref="Find"/>; a pattern means the disk's own bitmaps alone, because no other can be changed.</summary>
    public static IEnumerable<Bitmap> FindOwn(Disk disk, string name) =>
        FindNamed(disk, name) is { } named ? [named] : FindFitting(disk, name).Where(bitmap => !bitmap.IsOfParent);

    /// <summary>The bitmap of that name, or those that fit a pattern.</summary>
    public static IEnumerable<Bitmap> Find(Disk disk, string name) =>
        FindNamed(disk, name) is { } named ? [named] : FindFitting(disk, name);

    // A name from another program may look like a pattern, and is still a name.
    private static Bitmap? FindNamed(Disk disk, string name) => disk.Bitmaps.FindExact(name) ??
        (WildcardPattern.ContainsWildcardCharacters(name) ? null : disk.Bitmaps.Find(name));

    private static Bitmap[] FindFitting(Disk disk, string name)
    {
        WildcardPattern pattern = NamePattern.Parse(name);
        return [.. disk.Bitmaps.All.Where(bitmap => pattern.IsMatch(bitmap.Name))];
    }
}
