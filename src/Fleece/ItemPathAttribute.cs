// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Nbd;

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

    /// <summary>The text that -Path takes for exactly this file, or for this export: a URI is never a pattern.</summary>
    internal static string AsPattern(string address) => NbdUri.IsUri(address) ? address : WildcardPattern.Escape(address);

    // What Get-FleeceQemuDisk returns would otherwise be text, and the device's name a path.
    private static void CheckIsNoGuestDisk(object value)
    {
        PSMemberInfoCollection<PSPropertyInfo> properties = PSObject.AsPSObject(value).Properties;
        if (properties["QmpSocketPath"]?.Value is string { Length: > 0 } socketPath &&
            properties["Device"]?.Value is string { Length: > 0 } device)
        {
            throw new ArgumentTransformationMetadataException(PrintableText.Of(
                $"'{device} of {socketPath}' is a disk of a guest, which QEMU serves, and only images and exports fit here. " +
                "Start-FleeceSession and Backup-FleeceDisk take it."));
        }
    }

    // Text from Get-ChildItem -Name has a PSPath as well, and is still what the user sees.
    private static object? PathOf(object? value)
    {
        if (value is null or string or PSObject { BaseObject: string })
        {
            return value;
        }

        CheckIsNoGuestDisk(value);
        return PSObject.AsPSObject(value).Properties["PSPath"]?.Value?.ToString() is { } path ? AsPattern(path) : value;
    }
}
