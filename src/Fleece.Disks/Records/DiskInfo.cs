// SPDX-License-Identifier: MIT
using Fleece.Images;

namespace Fleece.Disks.Records;

/// <summary>A mounted disk as it was when it was asked for.</summary>
public sealed record DiskInfo
{
    // Made by the engine, and from what a host tells.
    internal DiskInfo()
    {
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
    public string Name { get; internal init; } = string.Empty;

    /// <summary>The image file, or the export's URI.</summary>
    public string Path { get; internal init; } = string.Empty;

    /// <summary>The image's format; null for an export.</summary>
    public ImageFormat? Format { get; internal init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; internal init; }

    /// <summary>True when the disk refuses writes.</summary>
    public bool IsReadOnly { get; internal init; }

    /// <summary>True when others may write to the disk as well.</summary>
    public bool IsShared { get; internal init; }

    /// <summary>Whether the storage keeps what it is given.</summary>
    public DiskStatus OperationalStatus { get; internal init; }

    /// <summary>The first flush that failed, with its file; null while none has.</summary>
    public string? FailureReason { get; internal init; }

    /// <summary>The running sessions as "DISK/NAME", oldest first.</summary>
    public IReadOnlyList<string> Sessions { get; internal init; } = RecordList<string>.Empty;

    /// <summary>Notes for the user on how the mount found the disk; whole sentences.</summary>
    public IReadOnlyList<string> Notes { get; internal init; } = RecordList<string>.Empty;

    /// <summary>The identity of this mount; another one when the disk is mounted again.</summary>
    public Guid MountId { get; internal init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
