// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Disable-FleeceBitmap: lets dirty bitmaps record nothing.</summary>
[Cmdlet(VerbsLifecycle.Disable, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class DisableFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Disable the dirty bitmap";

    private protected override BitmapChange Change => BitmapChange.Disable;
}
