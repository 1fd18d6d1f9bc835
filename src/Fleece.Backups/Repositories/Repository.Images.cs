// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Repositories;

/// <content>The images: which file holds a backup, and the only ways in which one is opened. Its header may come from a stranger, so it
/// names no other file than the parent that the manifest names, beside it.</content>
public sealed partial class Repository
{
    /// <summary>
    /// The file that holds a backup's content. One that was merged into its successor has the successor's name already when its own is
    /// gone.
    /// </summary>
    internal string PathOf(Manifest manifest)
    {
        string path = System.IO.Path.Combine(Path, manifest.FileName);

        // A successor has a higher number, so this ends.
        while (manifest.State == PointState.Merged && !File.Exists(path) && Find(manifest.SuccessorId!.Value) is { } successor)
        {
            Invariant.Require(successor.Number > manifest.Number, "R5", "a merge goes into a backup with a higher number");
            manifest = successor;
            path = System.IO.Path.Combine(Path, manifest.FileName);
        }

        return path;
    }

    /// <summary>True when a backup's file is that of its parent, which was merged with it, and has taken its name.</summary>
    internal bool HoldsItsParent(Manifest manifest) => manifest is { IsSingleFile: false, ParentId: { } parentId } &&
        Find(parentId) is { State: PointState.Merged } parent && parent.Number < manifest.Number && PathOf(parent) == PathOf(manifest);

    /// <summary>What a backup's file holds of the disk.</summary>
    internal RangeSet RangesIn(Manifest manifest) => HoldsItsParent(manifest)
        ? Find(manifest.ParentId!.Value)!.Ranges.With(manifest.Ranges.Ranges)
        : manifest.Ranges;

    /// <summary>Opens a backup of the repository, without its parents. While it is open no other program changes the file.</summary>
    /// <exception cref="BlockException">As <see cref="CheckImageAsync"/>, or why the image can't be opened.</exception>
    internal async ValueTask<ContentReader> OpenAsync(Manifest manifest, CancellationToken cancellationToken)
    {
        _ = await CheckImageAsync(manifest, cancellationToken).ConfigureAwait(false);
        return await ContentReader.OpenAsync(
            PathOf(manifest), manifest.Format, IsOverlay(manifest), manifest.SizeBytes, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Opens a backup to merge another one into it. Its parents are opened too, as far as they are files of the folder.</summary>
    /// <inheritdoc cref="OpenAsync" path="/exception"/>
    internal async ValueTask<IBlockNode> OpenToMergeAsync(Manifest manifest, CancellationToken cancellationToken)
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
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupChainBroken"/>, <see cref="BlockErrorKind.NotAFile"/>, or why the
    /// image can't be read.</exception>
    internal async ValueTask<ImageInfo> CheckImageAsync(Manifest manifest, CancellationToken cancellationToken)
    {
        string path = PathOf(manifest);
        if (!manifest.IsSingleFile) // Of one that is a file of its own, the user names the path.
        {
            RepositoryFile.CheckIsNoLink(path);
        }

        if (!File.Exists(path))
        {
            throw new BlockException(
                BlockErrorKind.BackupChainBroken,
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

    private void CheckParent(Manifest manifest, ImageInfo info)
    {
        Manifest? parent = IsOverlay(manifest) ? Find(manifest.ParentId!.Value) : null;
        if (parent is null && IsOverlay(manifest) && info.ParentPath is not null)
        {
            return; // Its manifest is gone, so no other name is known.
        }

        string? expected = parent is null ? null : PathOf(parent);
        if (!info.HasParent(expected) || (parent is not null && info.ParentFormat != parent.Format))
        {
            throw new BlockException(
                BlockErrorKind.BackupChainBroken,
                $"'{info.Path}' names {Describe(info.ParentPath, info.ParentFormat)} as its parent, and its manifest " +
                $"{Describe(expected, parent?.Format)}. Put the right file back.",
                info.Path);
        }
    }

    private static string Describe(string? parentPath, ImageFormat? format) =>
        parentPath is null ? "none" : $"'{parentPath}' ({format?.ToString() ?? "no format"})";

    private bool IsOverlay(Manifest manifest) => FirstIn(manifest) is { IsSingleFile: false, ParentId: not null };

    // Once a backup was merged into its successor's file, that is what the backup's own file was, whatever its manifest still says.
    private Manifest FirstIn(Manifest manifest)
    {
        // A parent has a lower number, so this ends.
        while (HoldsItsParent(manifest))
        {
            manifest = Find(manifest.ParentId!.Value)!;
        }

        return manifest;
    }
}
