// SPDX-License-Identifier: MIT
using System.Text.Json.Serialization;

namespace Fleece.Hosting;

/// <summary>The kinds of records, each known by an identity among its properties.</summary>
internal enum RecordKind
{
    /// <summary>MountId.</summary>
    Disk,

    /// <summary>InstantId.</summary>
    Session,

    /// <summary>InstantId too, beside the session's name.</summary>
    Consumer,

    /// <summary>BitmapId.</summary>
    Bitmap,

    /// <summary>ExportId.</summary>
    Export,

    /// <summary>ChainId, or the point that has it.</summary>
    Backup,
}

/// <summary>A disk as a parameter takes it: a name, with the identity of the mount where a record gave it.</summary>
/// <param name="Name">The disk's name; where a cmdlet lists disks, a pattern.</param>
/// <param name="MountId">The mount that is meant; null for whichever disk has the name.</param>
public sealed record DiskReference(string Name, Guid? MountId = null)
{
    /// <summary>The kind of the record that gave it.</summary>
    [JsonInclude]
    internal RecordKind Kind { get; init; }

    /// <summary>The bitmap whose record gave it.</summary>
    [JsonInclude]
    internal BitmapReference? Bitmap { get; init; }

    /// <summary>The absolute path of the QMP socket of the QEMU that runs the disk's guest; null for a disk that is mounted. The name is
    /// then that of the guest's device.</summary>
    [JsonInclude]
    internal string? QmpSocketPath { get; init; }

    /// <summary>Whether it is opened to write its bytes; null where it is not opened, or nothing says what for.</summary>
    [JsonInclude]
    internal bool? IsToWrite { get; init; }

    /// <summary>The name, and where it is a guest's device, the socket of its QEMU.</summary>
    [JsonIgnore]
    internal string Place => QmpSocketPath is null ? Name : $"{Name} of {QmpSocketPath}";

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}

/// <summary>A session as a parameter takes it: a name, with the identity of the instant where a record gave it.</summary>
/// <param name="Name">"NAME" or "DISK/NAME"; where a cmdlet lists sessions, a pattern.</param>
/// <param name="InstantId">The instant that is meant; null for whichever session has the name.</param>
public sealed record SessionReference(string Name, Guid? InstantId = null)
{
    /// <summary>The only session there is. No session can be called so.</summary>
    internal static SessionReference Only { get; } = new(string.Empty);

    /// <summary>The disk whose record gave it: its sessions are meant.</summary>
    [JsonInclude]
    internal DiskReference? Disk { get; init; }

    /// <summary>The consumer whose record or chunk gave it.</summary>
    [JsonInclude]
    internal string? Consumer { get; init; }

    /// <summary>True when the record that gave it says that the session is lost, or waits. It never means one that runs.</summary>
    [JsonInclude]
    internal bool IsLost { get; init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}

/// <summary>A bitmap as a parameter takes it: a name, with its disk and identities where a record gave it.</summary>
/// <param name="Name">The bitmap's name on its disk; where several can be meant, a pattern.</param>
/// <param name="MountId">The mount of the disk that is meant; null for whichever disk the cmdlet works on.</param>
public sealed record BitmapReference(string Name, Guid? MountId = null)
{
    /// <summary>The bitmap that is meant; null for whichever has the name.</summary>
    [JsonInclude]
    internal Guid? BitmapId { get; init; }

    /// <summary>The disk's name, where the record says it.</summary>
    [JsonInclude]
    internal string? Disk { get; init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}

/// <summary>An export as a parameter takes it: only a record names one.</summary>
/// <param name="Disk">The disk's name.</param>
/// <param name="Name">The export's name.</param>
/// <param name="ExportId">The export that is meant.</param>
public sealed record ExportReference(string Disk, string Name, Guid ExportId)
{
    /// <summary>The export's name.</summary>
    public override string ToString() => Name;
}

/// <summary>A backup as a parameter takes it: a path, with the backup's identity where a record gave it.</summary>
/// <param name="Path">A repository, or the file of a backup; that of a record is taken as it is.</param>
/// <param name="Id">The backup that is meant; null for whichever lies at the path.</param>
public sealed record BackupReference(string Path, Guid? Id = null)
{
    /// <summary>The path.</summary>
    public override string ToString() => Path;
}
