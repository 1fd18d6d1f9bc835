// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>What the next backup of a repository is to be.</summary>
/// <param name="Manifest">What its manifest will say, apart from what is only known when it is complete.</param>
/// <param name="Layout">What its image is made as.</param>
/// <param name="OtherSourceNote">What tells that it may be of another disk than the backup before it; null for nothing.</param>
internal sealed record RepositoryPlan(Manifest Manifest, ImageCreateOptions Layout, string? OtherSourceNote)
{
    /// <summary>Chooses.</summary>
    /// <exception cref="BlockException">As <see cref="Identify"/>; <see cref="BackupErrors.BackupParentMissing"/>,
    /// <see cref="DiskErrors.BackupForeign"/>, <see cref="BackupErrors.BackupChainBroken"/>,
    /// <see cref="BlockErrors.AlreadyExists"/>,
    /// <see cref="BlockErrors.InvalidArgument"/>.</exception>
    public static RepositoryPlan Make(Repository repository, ISnapshotSource source, RepositoryTargetOptions options)
    {
        SnapshotIdentity identity = Identify(source, options);
        CheckDisk(repository, identity, source.SizeBytes);
        Manifest? parent = FindParent(repository, identity, source.SizeBytes);
        ImageFormat format = options.Format ?? (parent is null or { Format: ImageFormat.Raw } ? ImageFormat.Qcow2 : parent.Format);
        CheckFormat(format, parent, repository.Path);
        ImageCompression compression =
            options.Compression ?? (format == ImageFormat.Qcow2 ? ImageCompression.Zstd : ImageCompression.None);
        int number = repository.NextNumber;
        string fileName = RepositoryNames.ImageFor(identity.DiskName, number, format);
        Manifest manifest = Manifest.Begin(source, identity, fileName, format, compression) with
        {
            Number = number,
            ChainId = parent?.ChainId ?? identity.Id,
            ParentId = parent?.Id,
            ParentContentDigest = parent?.ContentDigest,
        };
        ImageCreateOptions layout = new()
        {
            Format = format,
            SizeBytes = source.SizeBytes,
            Compression = compression,
            ParentPath = parent?.FileName,
            ParentFormat = parent?.Format,
            MustStayInFolder = true,
        };
        return new RepositoryPlan(manifest, layout, repository.DescribeOtherSource(manifest));
    }

    /// <summary>What a repository takes a snapshot as.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskShared"/>: it is a live disk.
    /// <see cref="BackupErrors.BackupUnidentified"/>: nothing says which disk it is of. Or as <see cref="SnapshotIdentity.Of"/>.
    /// </exception>
    public static SnapshotIdentity Identify(ISnapshotSource source, RepositoryTargetOptions options)
    {
        SnapshotIdentity identity = SnapshotIdentity.Of(source, options.DiskName);
        if (identity.IsLive)
        {
            throw new BlockException(
                DiskErrors.DiskShared,
                $"'{source.Id}' is a live disk, which changes while it is read, and a repository takes points in time. Start a session " +
                "where it is served, and read its snapshot, DISK/SESSION.",
                options.RepositoryPath);
        }

        return source.Identity is not null || options.DiskName is not null ? identity : throw new BlockException(
            BackupErrors.BackupUnidentified,
            $"The server of '{source.Id}' does not tell which disk it is, and a repository takes one disk. Name the disk with -Disk: the " +
            "backup is a full one then, and its instant the time at which it is read.",
            options.RepositoryPath);
    }

    private static void CheckDisk(Repository repository, SnapshotIdentity identity, long sizeBytes)
    {
        if (identity is { BaselineId: null, Ranges: not null })
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                identity.BitmapName is { } disabled
                    ? $"The session of '{identity.DiskName}' shows what the disabled bitmap '{disabled}' has. A disabled bitmap misses " +
                        "changes and counts from no backup, and a repository takes whole disks, or what has changed since a backup. Name " +
                        "a file for the backup, or start the session without -Bitmap, or with one that records."
                    : $"The session of '{identity.DiskName}' is limited to ranges, and a repository takes whole disks, or what a bitmap " +
                        "says has changed since a backup. Name a file for the backup, or start the session with -Bitmap.",
                repository.Path);
        }

        if (repository.Find(identity.Id) is { } same)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists,
                $"The backup {same.Number} in '{repository.Path}' shows the same instant. Start a new session for another backup.",
                repository.Path);
        }

        if (repository.Manifests.FirstOrDefault(manifest =>
                !string.Equals(manifest.DiskName, identity.DiskName, StringComparison.OrdinalIgnoreCase)) is { } other)
        {
            throw new BlockException(
                DiskErrors.BackupForeign,
                $"'{repository.Path}' holds backups of the disk '{other.DiskName}', and this one is of '{identity.DiskName}' " +
                $"({sizeBytes} bytes). Give each disk a repository of its own. A mounted disk keeps its name by -Name of " +
                "Mount-FleeceDisk, and a guest's by the same -name of its QEMU and the same id of the device.",
                repository.Path);
        }
    }

    private static Manifest? FindParent(Repository repository, SnapshotIdentity identity, long sizeBytes)
    {
        if (identity.BaselineId is not { } baselineId)
        {
            return null;
        }

        Manifest? found = repository.Find(baselineId);
        Manifest parent = found is { State: PointState.Kept, IsShared: false } ? found : throw new BlockException(
            BackupErrors.BackupParentMissing,
            $"The bitmap '{identity.BitmapName}' counts from the instant {baselineId}, and '{repository.Path}' has no backup of it, so " +
            "there is nothing to build on. Name the repository that has it, and see that its volume is mounted. For a second repository " +
            "use a bitmap of its own: to clear this one, which makes the next backup a full one, ends the increments of the repository " +
            $"that has the backup.{repository.FaultHint()}",
            repository.Path);

        if (parent.SizeBytes != sizeBytes)
        {
            throw new BlockException(
                DiskErrors.BackupForeign,
                $"The disk '{identity.DiskName}' has {sizeBytes} bytes, and the backup {parent.Number} in '{repository.Path}' is of " +
                $"one of {parent.SizeBytes}. Make a full backup: Backup-FleeceDisk -Full does so, and a session with -NextBitmap alone.",
                repository.Path);
        }

        // What it builds on must be there as well, or the new backup could never be restored.
        foreach (Manifest link in repository.ChainOf(parent))
        {
            string path = repository.Images.PathOf(link);
            if (!File.Exists(path))
            {
                throw new BlockException(
                    BackupErrors.BackupChainBroken,
                    $"'{path}', on which the next backup would build, does not exist. Put it back, or make a full backup: " +
                    "Backup-FleeceDisk -Full does so, and a session with -NextBitmap alone.",
                    path);
            }
        }

        return parent;
    }

    private static void CheckFormat(ImageFormat format, Manifest? parent, string path)
    {
        if (parent is null || format == ImageFormat.Qcow2 || (format == parent.Format && format != ImageFormat.Raw))
        {
            return;
        }

        throw new BlockException(
            BlockErrors.InvalidArgument,
            $"A {format} backup can't build on the backup {parent.Number}, which is {parent.Format}. Leave the format out, or clear the " +
            "bitmap, which makes the next backup a full one.",
            path);
    }
}
