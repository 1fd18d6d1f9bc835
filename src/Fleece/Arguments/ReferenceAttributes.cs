// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;

namespace Fleece;

/// <summary>Lets a parameter take the name of a thing, or a record of it.</summary>
/// <remarks>
/// <para>A record is known by the identity among its properties. So it is one from a cmdlet, from remoting or CLIXML, and one that
/// came back from JSON or CSV.</para>
/// <para>PowerShell transforms in each of its attempts at binding: the object, then a property of it, without and with conversion. An
/// unknown value stays as it is and nothing is thrown, so that the next attempt can bind it.</para>
/// </remarks>
internal abstract class ReferenceAttribute : ArgumentTransformationAttribute
{
    public sealed override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData) =>
        Unwrap(inputData) is IList list ? Array.ConvertAll([.. list.Cast<object?>()], Refer) : Refer(inputData);

    protected abstract object? FromName(string name);

    /// <summary>The reference that a record stands for; null when it is none.</summary>
    protected abstract object? FromRecord(PSObject record);

    protected static string? Text(PSObject record, string property) =>
        LanguagePrimitives.TryConvertTo(Value(record, property), out string text) && text.Length != 0 ? text : null;

    protected static Guid? Identity(PSObject record, string property) =>
        LanguagePrimitives.TryConvertTo(Value(record, property), out Guid id) ? id : null;

    protected static object? Value(PSObject record, string property) => record.Properties[property]?.Value;

    private object? Refer(object? value)
    {
        try
        {
            return Unwrap(value) switch
            {
                null => value,

                // A number is a name too: a disk may be called 7. PowerShell keeps how it was written in the wrapper.
                IConvertible when LanguagePrimitives.TryConvertTo(value, out string name) && name.Length != 0 => FromName(name) ?? value,
                IConvertible => value,
                _ => FromRecord(PSObject.AsPSObject(value)) ?? value,
            };
        }
        catch (RuntimeException)
        {
            return value; // A property of a stranger's object that can't be read.
        }
    }

    private static object? Unwrap(object? value) => value is PSObject wrapped ? wrapped.BaseObject : value;
}

/// <summary>Takes the name of a disk, a record of one, or a record of what is on one and says so: a session, a bitmap, an export.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class DiskArgumentAttribute : ReferenceAttribute
{
    /// <summary>True where another parameter takes the records of what is on a disk.</summary>
    public bool OnlyDisks { get; set; }

    protected override object FromName(string name) => new DiskReference(name);

    protected override object? FromRecord(PSObject record) =>
        Identity(record, "MountId") is { } mountId && NameIn(record) is { } name ? new DiskReference(name, mountId) : null;

    private string? NameIn(PSObject record) =>
        record.Properties["Disk"] is null ? Text(record, "Name") : OnlyDisks ? null : Text(record, "Disk");
}

/// <summary>Takes the name of a session, or a record of one or of one of its consumers.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SessionArgumentAttribute : ReferenceAttribute
{
    protected override object FromName(string name) => new SessionReference(name);

    protected override object? FromRecord(PSObject record) =>
        Identity(record, "InstantId") is { } instantId && (Text(record, "Session") ?? Text(record, "Id")) is { } name
            ? new SessionReference(name, instantId)
            : null;
}

/// <summary>Takes the name of a bitmap, or a record of one.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class BitmapArgumentAttribute : ReferenceAttribute
{
    protected override object FromName(string name) => new BitmapReference(name);

    protected override object? FromRecord(PSObject record) =>
        Identity(record, "MountId") is { } mountId && record.Properties["DirtyBytes"] is not null && Text(record, "Name") is { } name
            ? new BitmapReference(name, mountId)
            : null;
}

/// <summary>Takes a record of an export.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ExportArgumentAttribute : ReferenceAttribute
{
    protected override object? FromName(string name) => null;

    protected override object? FromRecord(PSObject record) =>
        Identity(record, "ExportId") is { } exportId && Text(record, "Disk") is { } disk && Text(record, "Name") is { } name
            ? new ExportReference(disk, name, exportId)
            : null;
}

/// <summary>Takes the path of a backup, or a record of one.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class BackupArgumentAttribute : ReferenceAttribute
{
    protected override object FromName(string name) => new BackupReference(name);

    protected override object? FromRecord(PSObject record) =>
        FromFile(record) ?? (Text(record, "PSPath") is { } item ? new BackupReference(WildcardPattern.Escape(item)) : null);

    private static BackupReference? FromFile(PSObject record) =>
        Text(record, "Path") is not { } path ? null
        : record.Properties["ChainId"] is not null ? new BackupReference(path, Identity(record, "Id"))
        : record.Properties["Point"] is null ? null
        : new BackupReference(path, Value(record, "Point") is { } point ? Identity(PSObject.AsPSObject(point), "Id") : null);
}
