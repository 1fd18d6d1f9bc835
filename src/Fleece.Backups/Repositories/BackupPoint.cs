// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Repositories;

/// <summary>One backup, of a repository or a file of its own: a point in time that can be restored.</summary>
/// <remarks>Threading. Not changed once it is made; it describes the repository as it was read.</remarks>
internal sealed class BackupPoint
{
    internal BackupPoint(string repositoryPath, Manifest manifest)
    {
        RepositoryPath = repositoryPath;
        Manifest = manifest;
        DataBytes = manifest.DataBytes;
        ZeroBytes = manifest.ZeroBytes;
        Kind = manifest.Kind;
    }

    /// <summary>The image file, in full. Any program that knows its format opens it as the disk at the instant.</summary>
    public string Path => System.IO.Path.Combine(RepositoryPath, Manifest.FileName);

    /// <summary>The folder.</summary>
    public string RepositoryPath { get; }

    /// <summary>Its place in the order of the repository's backups, which no clock can change; 0 for one that is in none.</summary>
    public int Number => Manifest.Number;

    /// <summary>The instant's identity.</summary>
    public Guid Id => Manifest.Id;

    /// <summary>The backup that it needs; null for none.</summary>
    public Guid? ParentId => Manifest.ParentId;

    /// <summary>The full backup that its chain began with.</summary>
    public Guid ChainId => Manifest.ChainId;

    /// <summary>Full, incremental or partial.</summary>
    public BackupKind Kind { get; }

    /// <summary>The instant it shows, by the clock of that time.</summary>
    public DateTimeOffset Instant => Manifest.InstantAt;

    /// <summary>When it was complete.</summary>
    public DateTimeOffset CompletedAt => Manifest.CompletedAt;

    /// <summary>The disk. This, <see cref="SourceAddress"/> and <see cref="Bitmap"/> are printable.</summary>
    public string Disk => PrintableText.Of(Manifest.DiskName);

    /// <summary>Where the disk was: full path of the image, or URI of the export; null where its manifest does not say.</summary>
    public string? SourceAddress => PrintableText.Of(Manifest.SourceAddress);

    /// <summary>The bitmap that its session pinned; null for none.</summary>
    public string? Bitmap => PrintableText.Of(Manifest.BitmapName);

    /// <summary>True when others wrote to the disk past the session, so that the backup may show several moments.</summary>
    public bool IsShared => Manifest.IsShared;

    /// <summary>The file's format.</summary>
    public ImageFormat Format => Manifest.Format;

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => Manifest.SizeBytes;

    /// <summary>Bytes of data that the file holds of the disk.</summary>
    public long DataBytes { get; }

    /// <summary>Bytes that the file says are zero.</summary>
    public long ZeroBytes { get; }

    /// <summary>True when a seal covers the manifest, so that it is whole; false for one of a version of Fleece that had no seals.
    /// </summary>
    public bool IsSealed => Manifest.IsSealed;

    /// <summary>Length of the file in bytes.</summary>
    public long FileSizeBytes => Manifest.FileSizeBytes;

    /// <summary>What to tell of a point whose manifest has no seal; whole sentences.</summary>
    public string DescribeMissingSeal() =>
        $"'{System.IO.Path.Combine(RepositoryPath, Manifest.ManifestName)}' has no seal, because an older version of Fleece has written " +
        "it: that it was not changed since is not proved. Backups that are made from now on are sealed; a full one " +
        "(Backup-FleeceDisk -Full) needs no older ones.";

    /// <summary>What to tell of a point of a shared disk; whole sentences.</summary>
    public string DescribeSharing() =>
        $"'{Path}' was made while others could write to the disk '{Disk}' past the session, so its point in time is not guaranteed: it " +
        "may show several moments. Look at what it holds before you rely on it.";

    internal Manifest Manifest { get; }

    /// <summary>Refuses a file that can't be the one that the manifest describes: it is not there, or has another length.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/></exception>
    public void CheckFile()
    {
        FileInfo file = new(Path);
        if (!file.Exists || file.Length != FileSizeBytes)
        {
            throw new BlockException(
                BackupErrors.BackupChainBroken,
                file.Exists
                    ? $"'{Path}' has {file.Length} bytes, and its manifest describes a file of {FileSizeBytes}. Somebody has changed or " +
                      "replaced it, or a copy was cut short; put the right file back."
                    : $"'{Path}', which its manifest describes, does not exist. Put it back.",
                Path,
                operation: "open");
        }
    }

    /// <summary>The image file's path.</summary>
    public override string ToString() => Path;
}
