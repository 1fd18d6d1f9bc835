// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

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
    private protected virtual bool IsWanted(BitmapInfo bitmap) => true;

    /// <summary>The change.</summary>
    private protected abstract BitmapChange Change { get; }

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

        DiskInfo disk = FindDisk(Disk);
        foreach (BitmapReference reference in Name)
        {
            ForItem(reference.Name, () =>
            {
                foreach (BitmapInfo bitmap in BitmapSelection.Find(this, disk, reference, onlyOwn: true))
                {
                    if (ShouldProcess($"{disk.Name}: {bitmap.Name}", Action) && IsWanted(bitmap))
                    {
                        BitmapInfo changed = Wait(
                            Owner.Bitmaps.ChangeBitmapAsync(Same(disk), BitmapSelection.Same(bitmap), Change, StopToken));
                        Pass(() => changed);
                    }
                }
            });
        }
    });
}
