// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Clear-FleeceBitmap: empties dirty bitmaps.</summary>
[Cmdlet(VerbsCommon.Clear, "FleeceBitmap", SupportsShouldProcess = true)]
public sealed class ClearFleeceBitmapCommand : ForgettingBitmapCommand
{
    private protected override string Action => "Clear the dirty bitmap";

    private protected override BitmapChange Change => BitmapChange.Clear;
}
