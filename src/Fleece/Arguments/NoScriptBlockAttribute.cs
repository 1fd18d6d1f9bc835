// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>Refuses script blocks where no pipeline object could evaluate them. PowerShell would take the block's text for the value, and
/// a file would be named after it.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class NoScriptBlockAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData) =>
        (inputData is PSObject wrapped ? wrapped.BaseObject : inputData) is ScriptBlock block
            ? throw new ArgumentTransformationMetadataException(
                $"It takes text, and '{{{block}}}' is a script block, which has no object to work on here. Write the text, or run the block: (& {{...}}).")
            : inputData;
}
