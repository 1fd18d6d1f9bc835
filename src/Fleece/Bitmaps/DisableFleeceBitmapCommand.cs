// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>Disable-FleeceBitmap: lets dirty bitmaps record nothing.</summary>
[Cmdlet(VerbsLifecycle.Disable, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class DisableFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Disable the dirty bitmap";

    private protected override ValueTask ChangeAsync(DiskBitmaps bitmaps, string name) => bitmaps.DisableAsync(name, StopToken);
}
