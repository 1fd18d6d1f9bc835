// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Bitmaps;

namespace Fleece;

/// <summary>Clear-FleeceBitmap: empties dirty bitmaps.</summary>
[Cmdlet(VerbsCommon.Clear, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class ClearFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Clear the dirty bitmap";

    private protected override ValueTask ChangeAsync(DiskBitmaps bitmaps, string name) => bitmaps.ClearAsync(name, StopToken);
}
