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
                $"{{{block}}} is a script block, and no object of the pipeline runs it here. Write the text itself.")
            : inputData;
}
