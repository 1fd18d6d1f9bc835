// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>Takes an object that stands for a file, one with a PSPath, for exactly that file: its name is no pattern.</summary>
/// <remarks>Rows with a property Path are left to the binding by property name, which comes after this.</remarks>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ItemPathAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData) =>
        (inputData is PSObject wrapped ? wrapped.BaseObject : inputData) is object?[] items
            ? Array.ConvertAll(items, PathOf)
            : PathOf(inputData);

    // Text from Get-ChildItem -Name has a PSPath as well, and is still what the user sees.
    private static object? PathOf(object? value) =>
        value is null or string or PSObject { BaseObject: string } ||
        PSObject.AsPSObject(value).Properties["PSPath"]?.Value?.ToString() is not { } path
            ? value
            : WildcardPattern.Escape(path);
}
