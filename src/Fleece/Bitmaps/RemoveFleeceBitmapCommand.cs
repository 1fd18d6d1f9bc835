// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Remove-FleeceBitmap: forgets dirty bitmaps.</summary>
[Cmdlet(VerbsCommon.Remove, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class RemoveFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Remove the dirty bitmap";

    private protected override BitmapChange Change => BitmapChange.Remove;
}
