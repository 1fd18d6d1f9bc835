// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Repositories;

/// <summary>The images of a repository: which file holds a backup, and the only ways in which one is opened.</summary>
/// <remarks>An image's header may come from a stranger, so it names no other file than the parent that the manifest names, beside it.
/// </remarks>
internal sealed class RepositoryImages(Repository repository)
{
    /// <summary>
    /// The file that holds a backup's content. One that was merged into its successor has the successor's name already when its own is
    /// gone.
    /// </summary>
    public string PathOf(Manifest manifest)
    {
        string path = Path.Combine(repository.Path, manifest.FileName);

        // A successor has a higher number, so this ends.
        while (manifest.State == PointState.Merged && !File.Exists(path) && repository.Find(manifest.SuccessorId!.Value) is { } successor)
        {
            Invariant.Require(successor.Number > manifest.Number, "R5", "a merge goes into a backup with a higher number");
            manifest = successor;
            path = Path.Combine(repository.Path, manifest.FileName);
        }

        return path;
    }

    /// <summary>True when a backup's file is that of its parent, which was merged with it, and has taken its name.</summary>
    public bool HoldsItsParent(Manifest manifest) => manifest is { IsSingleFile: false, ParentId: { } parentId } &&
        repository.Find(parentId) is { State: PointState.Merged } parent && parent.Number < manifest.Number &&
        PathOf(parent) == PathOf(manifest);

    /// <summary>What a backup's file holds of the disk.</summary>
    public RangeSet RangesIn(Manifest manifest) => HoldsItsParent(manifest)
        ? repository.Find(manifest.ParentId!.Value)!.Ranges.With(manifest.Ranges.Ranges)
        : manifest.Ranges;

    /// <summary>Opens a backup of the repository, without its parents. While it is open no other program changes the file.</summary>
    /// <exception cref="BlockException">As <see cref="CheckImageAsync"/>, or why the image can't be opened.</exception>
    public async ValueTask<ContentReader> OpenAsync(Manifest manifest, CancellationToken cancellationToken)
    {
        _ = await CheckImageAsync(manifest, cancellationToken).ConfigureAwait(false);
        return await ContentReader.OpenAsync(
            PathOf(manifest), manifest.Format, IsOverlay(manifest), manifest.SizeBytes, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Opens a backup to merge another one into it. Its parents are opened too, as far as they are files of the folder.</summary>
    /// <inheritdoc cref="OpenAsync" path="/exception"/>
    public async ValueTask<IBlockNode> OpenToMergeAsync(Manifest manifest, CancellationToken cancellationToken)
    {
        _ = await CheckImageAsync(manifest, cancellationToken).ConfigureAwait(false);
        ImageOpenOptions opening = new()
        {
            Format = manifest.Format,
            Compression = manifest.Compression == ImageCompression.None ? null : manifest.Compression,
            MustStoreZeroes = true,
            MustKeepIdentity = true,
            MustStayInFolder = true,
        };
        return (await Image.OpenAsync(PathOf(manifest), opening, cancellationToken).ConfigureAwait(false)).Node;
    }

    /// <summary>Describes a backup's image, and refuses one that can't be the backup's: not there, a link, of another format, or with
    /// another parent than the manifest says. Other programs find the parent by the name in the image, and Fleece by the manifest; both
    /// must lead to one file.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/>, <see cref="BlockErrors.NotAFile"/>, or why the
    /// image can't be read.</exception>
    public async ValueTask<ImageInfo> CheckImageAsync(Manifest manifest, CancellationToken cancellationToken)
    {
        string path = PathOf(manifest);
        if (!manifest.IsSingleFile) // Of one that is a file of its own, the user names the path.
        {
            RepositoryFile.CheckIsNoLink(path);
        }

        if (!File.Exists(path))
        {
            throw new BlockException(
                BackupErrors.BackupChainBroken,
                manifest.IsSingleFile
                    ? $"'{path}', which its manifest describes, does not exist. Put it back."
                    : $"'{path}', which holds the backup {manifest.Number}, does not exist, so neither it nor what builds on it can be " +
                      "restored. Put it back, or begin a new chain with -Full.",
                path,
                operation: "open");
        }

        ImageInfo info = await Image.GetInfoAsync(path, manifest.Format, cancellationToken).ConfigureAwait(false);
        CheckParent(FirstIn(manifest), info);
        return info;
    }

    /// <summary>Compares a manifest with what its image maps of the disk. What a manifest lists and the image does not map, every read
    /// finds. This is the reverse: an overlay that maps what its manifest does not list has lost a part of the list, and a restore would
    /// show its parent's content there. Of a cluster that is listed in part, the rest came from the parent.</summary>
    /// <param name="manifest">The backup; nothing is compared for one that is being merged.</param>
    /// <param name="reader">Its image.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.ManifestInvalid"/>, <see cref="BackupErrors.BackupDigestMismatch"/>,
    /// or as <see cref="CheckImageAsync"/>.</exception>
    public async ValueTask CheckMapAsync(Manifest manifest, ContentReader reader, CancellationToken cancellationToken)
    {
        if (manifest.State != PointState.Kept)
        {
            return;
        }

        string path = PathOf(manifest);
        ImageInfo info = await CheckImageAsync(manifest, cancellationToken).ConfigureAwait(false);
        int unitBytes = manifest.Format == ImageFormat.Qcow2 ? info.BlockSizeBytes!.Value : info.LogicalSectorSizeBytes;
        RangeSet listed = Outward(RangesIn(manifest), unitBytes, manifest.SizeBytes);
        if (await reader.FindUnlistedAsync(listed, manifest.SizeBytes, cancellationToken).ConfigureAwait(false) is { } unlisted)
        {
            string manifestPath = Path.Combine(repository.Path, manifest.ManifestName);
            throw new BlockException(
                BackupErrors.ManifestInvalid,
                $"'{manifestPath}' does not list the disk's {unlisted.LengthBytes} bytes at offset {unlisted.OffsetBytes}, which " +
                $"'{path}' holds. One of the two files is not the one that was made: put the right one back from a copy.",
                manifestPath,
                unlisted.OffsetBytes,
                "verify");
        }
    }

    private void CheckParent(Manifest manifest, ImageInfo info)
    {
        Manifest? parent = IsOverlay(manifest) ? repository.Find(manifest.ParentId!.Value) : null;
        if (parent is null && IsOverlay(manifest) && info.ParentPath is not null)
        {
            return; // Its manifest is gone, so no other name is known.
        }

        string? expected = parent is null ? null : PathOf(parent);
        if (!info.HasParent(expected) || (parent is not null && info.ParentFormat != parent.Format))
        {
            throw new BlockException(
                BackupErrors.BackupChainBroken,
                $"'{info.Path}' names {Describe(info.ParentPath, info.ParentFormat)} as its parent, and its manifest " +
                $"{Describe(expected, parent?.Format)}. Put the right file back.",
                info.Path);
        }
    }

    private static RangeSet Outward(RangeSet ranges, int unitBytes, long sizeBytes) => RangeSet.Of(ranges.Ranges.Select(range =>
        BlockRange.FromEnds(
            range.OffsetBytes / unitBytes * unitBytes,
            range.EndBytes > sizeBytes - unitBytes ? sizeBytes : (range.EndBytes + unitBytes - 1) / unitBytes * unitBytes)));

    private static string Describe(string? parentPath, ImageFormat? format) =>
        parentPath is null ? "none" : $"'{parentPath}' ({format?.ToString() ?? "no format"})";

    private bool IsOverlay(Manifest manifest) => FirstIn(manifest) is { IsSingleFile: false, ParentId: not null };

    // Once a backup was merged into its successor's file, that is what the backup's own file was, whatever its manifest still says.
    private Manifest FirstIn(Manifest manifest)
    {
        // A parent has a lower number, so this ends.
        while (HoldsItsParent(manifest))
        {
            manifest = repository.Find(manifest.ParentId!.Value)!;
        }

        return manifest;
    }
}
