// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Lets a parameter take the name of a thing, or a record of it.</summary>
/// <remarks>
/// <para>A record is known by the identity among its properties. So it is one from a cmdlet, from remoting or CLIXML, and one that
/// came back from JSON or CSV. An object without any is a row, whose columns are names.</para>
/// <para>A parameter that takes these from the pipeline does not take properties of them: PowerShell would hand over a name, and of
/// which thing is lost. A record of another kind is refused. Any other object stays as it is, so that other parameters can take it.</para>
/// </remarks>
internal abstract class ReferenceAttribute : ArgumentTransformationAttribute
{
    public sealed override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData) =>
        Unwrap(inputData) is IList list ? Array.ConvertAll([.. list.Cast<object?>()], Refer) : Refer(inputData);

    protected abstract object? FromName(string name);

    /// <summary>The reference that a record stands for; null when it is none.</summary>
    protected internal abstract object? FromRecord(PSObject record);

    /// <summary>What an object is a record of; null for a row.</summary>
    protected static RecordKind? KindOf(PSObject record) =>
        Identity(record, "BitmapId") is not null ? RecordKind.Bitmap
        : Identity(record, "ExportId") is not null ? RecordKind.Export
        : Identity(record, "ChainId") is not null || record.Properties["Point"] is not null ? RecordKind.Backup
        : Identity(record, "InstantId") is not null ? record.Properties["Session"] is null ? RecordKind.Session : RecordKind.Consumer
        : Identity(record, "MountId") is not null ? RecordKind.Disk
        : null;

    /// <summary>The first of these properties that an object has; null when it has none.</summary>
    protected static string? NameIn(PSObject record, params ReadOnlySpan<string> properties)
    {
        foreach (string property in properties)
        {
            if (record.Properties[property] is not null)
            {
                return Text(record, property) ??
                    throw new ArgumentTransformationMetadataException($"The {property} of the object is empty.");
            }
        }

        return null;
    }

    protected static ArgumentTransformationMetadataException Foreign(PSObject record, RecordKind kind, RecordKind wanted) => new(
        PrintableText.Of(
            $"The {ReferencedThings.Noun(kind)} '{Text(record, "Name") ?? Text(record, "Path")}' stands for no " +
            $"{ReferencedThings.Noun(wanted)}. Give a name, or what Get-Fleece{wanted} returns."));

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
                IConvertible when LanguagePrimitives.TryConvertTo(value, out string name) => name.Length == 0
                    ? throw new ArgumentTransformationMetadataException("The name is empty.")
                    : FromName(name) ?? value,
                IConvertible => value,
                _ => FromRecord(PSObject.AsPSObject(value)) ?? value,
            };
        }
        catch (RuntimeException e) when (e is not ArgumentTransformationMetadataException)
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
    /// <summary>True where a record of what is on a disk does not stand for the disk, and another parameter takes exports.</summary>
    public bool OnlyDisks { get; set; }

    /// <summary>True where the record of a guest's disk stands for a disk.</summary>
    public bool TakesGuests { get; set; }

    protected override object FromName(string name) => new DiskReference(name);

    protected internal override object? FromRecord(PSObject record) => KindOf(record) switch
    {
        null when GuestDiskIn(record) is { } ofGuest => TakesGuests ? ofGuest : throw new ArgumentTransformationMetadataException(
            PrintableText.Of($"'{ofGuest.Place}' is a disk of a guest, which QEMU serves, and only disks that are mounted fit here.")),
        null when OnlyDisks && record.Properties["Disk"] is not null => null,
        null => NameIn(record, "Disk", "Name") is { } name ? new DiskReference(name) : null,
        RecordKind.Disk => new DiskReference(NameIn(record, "Name")!, Identity(record, "MountId")),
        RecordKind.Export when OnlyDisks => null,
        { } kind when OnlyDisks || kind is RecordKind.Consumer or RecordKind.Backup => throw Foreign(record, kind, RecordKind.Disk),
        { } kind => new DiskReference(NameIn(record, "Disk")!, Identity(record, "MountId"))
        {
            Kind = kind,
            Bitmap = kind == RecordKind.Bitmap ? BitmapArgumentAttribute.Of(record) : null,
        },
    };

    // What Get-FleeceQemuDisk returns.
    private static DiskReference? GuestDiskIn(PSObject record) =>
        Text(record, "QmpSocketPath") is { } qmpSocketPath && Text(record, "Device") is { } device
            ? new DiskReference(device) { QmpSocketPath = qmpSocketPath }
            : null;
}

/// <summary>Takes the name of a session, or a record of one or of one of its consumers.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SessionArgumentAttribute : ReferenceAttribute
{
    /// <summary>True where the record of a disk stands for its sessions.</summary>
    public bool TakesDisks { get; set; }

    protected override object FromName(string name) => new SessionReference(name);

    protected internal override object? FromRecord(PSObject record) => KindOf(record) switch
    {
        null or RecordKind.Session or RecordKind.Consumer => NameIn(record, "Session", "Id", "Name") is { } name
            ? new SessionReference(name, Identity(record, "InstantId")) { Consumer = ConsumerIn(record), IsLost = IsLost(record) }
            : null,
        RecordKind.Disk when TakesDisks =>
            new SessionReference("*") { Disk = (DiskReference)new DiskArgumentAttribute().FromRecord(record)! },
        { } kind => throw Foreign(record, kind, RecordKind.Session),
    };

    private static bool IsLost(PSObject record) =>
        LanguagePrimitives.TryConvertTo(Value(record, "State"), out Block.CopyBeforeWrite.SessionState state) &&
        state == Block.CopyBeforeWrite.SessionState.Lost;

    // What names its session beside itself is a consumer, or a chunk that was read for one.
    private static string? ConsumerIn(PSObject record) =>
        record.Properties["Session"] is null ? null : Text(record, "Consumer") ?? Text(record, "Name");
}

/// <summary>Takes the name of a bitmap, or a record of one.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class BitmapArgumentAttribute : ReferenceAttribute
{
    /// <summary>The bitmap of a record or a row; null when it has no name.</summary>
    public static BitmapReference? Of(PSObject record) => NameIn(record, "Name") is { } name
        ? new BitmapReference(name, Identity(record, "MountId")) { BitmapId = Identity(record, "BitmapId"), Disk = Text(record, "Disk") }
        : null;

    protected override object FromName(string name) => new BitmapReference(name);

    protected internal override object? FromRecord(PSObject record) => KindOf(record) switch
    {
        null or RecordKind.Bitmap => Of(record),
        { } kind => throw Foreign(record, kind, RecordKind.Bitmap),
    };
}

/// <summary>Takes a record of an export.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ExportArgumentAttribute : ReferenceAttribute
{
    protected override object? FromName(string name) => null;

    protected internal override object? FromRecord(PSObject record) =>
        Identity(record, "ExportId") is { } exportId && Text(record, "Disk") is { } disk && Text(record, "Name") is { } name
            ? new ExportReference(disk, name, exportId)
            : null;
}

/// <summary>Takes the path of a backup, or a record of one.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class BackupArgumentAttribute : ReferenceAttribute
{
    protected override object FromName(string name) => new BackupReference(name);

    protected internal override object? FromRecord(PSObject record) =>
        FromFile(record) ?? (Text(record, "PSPath") is { } item ? new BackupReference(ItemPathAttribute.AsPattern(item)) : null);

    private static BackupReference? FromFile(PSObject record) =>
        Text(record, "Path") is not { } path ? null
        : record.Properties["ChainId"] is not null ? new BackupReference(path, Identity(record, "Id"))
        : record.Properties["Point"] is null ? null
        : new BackupReference(path, Value(record, "Point") is { } point ? Identity(PSObject.AsPSObject(point), "Id") : null);
}
