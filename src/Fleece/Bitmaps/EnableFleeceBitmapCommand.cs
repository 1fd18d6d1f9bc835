// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Enable-FleeceBitmap: lets dirty bitmaps record.</summary>
[Cmdlet(VerbsLifecycle.Enable, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class EnableFleeceBitmapCommand : BitmapCommand
{
    private protected override string Action => "Enable the dirty bitmap";

    private protected override BitmapChange Change => BitmapChange.Enable;
}
