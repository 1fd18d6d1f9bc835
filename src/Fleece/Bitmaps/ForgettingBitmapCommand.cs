// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>What the cmdlets share after which a bitmap no longer tells what has changed since a backup.</summary>
public abstract class ForgettingBitmapCommand : BitmapCommand
{
    /// <summary>Do not ask, where backups count from the bitmap.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    /// <remarks>A bitmap that is not trusted tells nothing, and those of sessions and of parents are refused.</remarks>
    private protected sealed override bool IsWanted(BitmapInfo bitmap) =>
        Force || bitmap.BaselineId is null || bitmap.State == BitmapState.Untrusted || bitmap.Session is not null || bitmap.IsOfParent ||
        Confirms(
            $"A backup counts from the bitmap '{bitmap.Name}' of '{bitmap.Disk}': without what it has recorded the next one is a " +
            "full backup.");
}
