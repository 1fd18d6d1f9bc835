// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>Remove-FleeceBitmap: forgets dirty bitmaps.</summary>
[Cmdlet(VerbsCommon.Remove, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class RemoveFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Remove the dirty bitmap";

    private protected override ValueTask ChangeAsync(DiskBitmaps bitmaps, string name) => bitmaps.RemoveAsync(name, StopToken);
}
