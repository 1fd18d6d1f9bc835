// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>What the cmdlets share that change the bitmaps of a disk one by one.</summary>
[OutputType(typeof(BitmapInfo))]
public abstract class BitmapCommand : SilentCommand
{
    private bool _isOneGiven;

    /// <summary>The disk's name, or the disk; of bitmaps that are piped, theirs.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>The bitmaps' names, wildcards allowed, or the bitmaps.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference[] Name { get; set; } = [];

    /// <summary>What -WhatIf says is done.</summary>
    private protected abstract string Action { get; }

    /// <summary>Whether the user wants that of this bitmap, where it may be a mistake.</summary>
    private protected virtual bool IsWanted(Bitmap bitmap) => true;

    /// <summary>Does it.</summary>
    private protected abstract ValueTask ChangeAsync(DiskBitmaps bitmaps, string name);

    /// <inheritdoc/>
    protected override void BeginProcessing() => _isOneGiven =
        MyInvocation.BoundParameters.ContainsKey(nameof(Disk)) || MyInvocation.BoundParameters.ContainsKey(nameof(Name));

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk!.Name, () =>
    {
        // One piped object stands for both parameters; a text is not the disk's name and the bitmap's at once.
        if (!_isOneGiven && Array.Exists(Name, name => name.Disk is null))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"Which bitmap of the disk '{Disk.Name}' is meant is not said. Name it with -Name, or pipe what Get-FleeceBitmap returns.");
        }

        Disk disk = Disks.Find(Disk);
        foreach (BitmapReference reference in Name)
        {
            ForItem(reference.Name, () =>
            {
                foreach (Bitmap bitmap in BitmapSelection.FindOwn(disk, reference))
                {
                    if (ShouldProcess($"{disk.Name}: {bitmap.Name}", Action) && IsWanted(bitmap))
                    {
                        Wait(ChangeAsync(disk.Bitmaps, bitmap.Name));
                        Pass(() => new BitmapInfo(bitmap));
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
    public static IEnumerable<Bitmap> FindOwn(Disk disk, BitmapReference reference)
    {
        string name = reference.NameOn(disk);
        return FindNamed(disk, name) is { } named ? [named] : FindFitting(disk, name).Where(bitmap => !bitmap.IsOfParent);
    }

    /// <summary>The bitmap of that name, or those that fit a pattern.</summary>
    public static IEnumerable<Bitmap> Find(Disk disk, BitmapReference reference)
    {
        string name = reference.NameOn(disk);
        return FindNamed(disk, name) is { } named ? [named] : FindFitting(disk, name);
    }

    // A name from another program may look like a pattern, and is still a name.
    private static Bitmap? FindNamed(Disk disk, string name) => disk.Bitmaps.FindExact(name) ??
        (WildcardPattern.ContainsWildcardCharacters(name) ? null : disk.Bitmaps.Find(name));

    private static Bitmap[] FindFitting(Disk disk, string name)
    {
        WildcardPattern pattern = NamePattern.Parse(name);
        return [.. disk.Bitmaps.All.Where(bitmap => pattern.IsMatch(bitmap.Name))];
    }
}
