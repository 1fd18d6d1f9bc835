// SPDX-License-Identifier: MIT
using Fleece.Images;

namespace Fleece.Disks.Records;

/// <summary>A mounted disk as it was when it was asked for.</summary>
public sealed record DiskInfo
{
    // For a record that comes from a host.
    private DiskInfo()
    {
    }

    internal DiskInfo(Disk disk)
    {
        Name = disk.Name;
        Path = disk.Path;
        Format = disk.Format;
        SizeBytes = disk.SizeBytes;
        IsReadOnly = disk.IsReadOnly;
        IsShared = disk.IsShared;
        OperationalStatus = disk.OperationalStatus;
        FailureReason = disk.FailureReason;
        Sessions = new RecordList<string>(disk.Sessions.Select(session => session.Id));
        Notes = new RecordList<string>(disk.Notes);
        MountId = disk.MountId;
    }

    // A disk that is to be mounted and can't be.
    internal DiskInfo(string name, string path, ImageFormat? format, bool isReadOnly, bool isShared, string failureReason)
    {
        Name = name;
        Path = path;
        Format = format;
        IsReadOnly = isReadOnly;
        IsShared = isShared;
        OperationalStatus = DiskStatus.Failed;
        FailureReason = failureReason;
        Sessions = new RecordList<string>([]);
        Notes = new RecordList<string>([]);
    }

    /// <summary>The name that cmdlets and exports use.</summary>
    public string Name { get; private init; } = string.Empty;

    /// <summary>The image file, or the export's URI.</summary>
    public string Path { get; private init; } = string.Empty;

    /// <summary>The image's format; null for an export.</summary>
    public ImageFormat? Format { get; private init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; private init; }

    /// <summary>True when the disk refuses writes.</summary>
    public bool IsReadOnly { get; private init; }

    /// <summary>True when others may write to the disk as well.</summary>
    public bool IsShared { get; private init; }

    /// <summary>Whether the storage keeps what it is given.</summary>
    public DiskStatus OperationalStatus { get; private init; }

    /// <summary>The first flush that failed, with its file; null while none has.</summary>
    public string? FailureReason { get; private init; }

    /// <summary>The running sessions as "DISK/NAME", oldest first.</summary>
    public IReadOnlyList<string> Sessions { get; private init; } = RecordList<string>.Empty;

    /// <summary>Notes for the user on how the mount found the disk; whole sentences.</summary>
    public IReadOnlyList<string> Notes { get; private init; } = RecordList<string>.Empty;

    /// <summary>The identity of this mount; another one when the disk is mounted again.</summary>
    public Guid MountId { get; private init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
