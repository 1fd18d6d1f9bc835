// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Backups.Retaining;

/// <summary>Takes a backup out of a chain: what its successor holds goes into its file, which then takes the successor's name.</summary>
/// <remarks>
/// <para>What changed is written once and nothing else is: the backups that build on the successor find it under the same name.</para>
/// <para>The steps, and what a killed process leaves behind at each:</para>
/// <code>
/// checked   all that the successor holds was read and is right                nothing has changed
/// merging   the manifest says so, and names only what the successor           the successor reads right, because it hides what is
///           does not hold; the successor's content is written in              written; the point itself is gone; written again
/// merged    all of it is durable in the file, and the manifest says so        the same; the names follow
/// known     the file has what the successor's children know besides names     the same; where the format knows more than names, other
///                                                                             programs refuse the successor until the next step
/// renamed   the file has the successor's name                                 reads right by that name alone
/// described the successor's manifest names all that the file holds            the point's manifest is deleted
/// </code>
/// <para>Threading. One thread, which holds the repository.</para>
/// </remarks>
internal sealed class PointMerge(RepositoryFolder folder, Repository repository, Manifest point, Manifest successor)
{
    private string PointPath => folder.InFolder(point.FileName);

    private string ManifestPath => folder.InFolder(RepositoryNames.ManifestFor(point.FileName));

    /// <summary>Does it, or goes on where a killed job stopped.</summary>
    /// <exception cref="BlockException">What can't be read or written. Before anything was changed, or else the next job goes on.
    /// </exception>
    public async ValueTask RunAsync(CancellationToken cancellationToken)
    {
        Manifest merging = point.State == PointState.Kept ? await CheckAsync(cancellationToken).ConfigureAwait(false) : point;
        if (merging.State != PointState.Merged)
        {
            merging = await CopyAsync(merging, cancellationToken).ConfigureAwait(false);
        }

        await RenameAsync(merging, cancellationToken).ConfigureAwait(false);
    }

    // What remains of the point gets digests of its own where the successor covers part of an extent, so that it can be checked at
    // every moment of the merge.
    private async ValueTask<Manifest> CheckAsync(CancellationToken cancellationToken)
    {
        ContentReader newer = await repository.Images.OpenAsync(successor, cancellationToken).ConfigureAwait(false);
        await using (newer.ConfigureAwait(false))
        {
            await CheckUnsealedAsync(successor, newer, cancellationToken).ConfigureAwait(false);
            await newer.CheckAllAsync(successor.Content, cancellationToken).ConfigureAwait(false);
        }

        RangeSet covered = successor.Ranges;
        List<ContentExtent> remaining = [];
        ContentReader older = await repository.Images.OpenAsync(point, cancellationToken).ConfigureAwait(false);
        await using (older.ConfigureAwait(false))
        {
            await CheckUnsealedAsync(point, older, cancellationToken).ConfigureAwait(false);
            foreach (ContentExtent extent in point.Content)
            {
                await AddRemainingAsync(older, extent, [.. covered.Without(extent.Range)], remaining, cancellationToken)
                    .ConfigureAwait(false);
            }
        }

        return point with { State = PointState.Merging, SuccessorId = successor.Id, Content = remaining };
    }

    // A merge writes a seal, and must not put one under a list that has lost something.
    private async ValueTask CheckUnsealedAsync(Manifest manifest, ContentReader reader, CancellationToken cancellationToken)
    {
        if (!manifest.IsSealed)
        {
            await repository.Images.CheckMapAsync(manifest, reader, cancellationToken).ConfigureAwait(false);
            await reader.CheckAllAsync([.. manifest.Content.Where(extent => extent.IsZero)], cancellationToken).ConfigureAwait(false);
        }
    }

    private static async ValueTask AddRemainingAsync(
        ContentReader reader,
        ContentExtent extent,
        BlockRange[] parts,
        List<ContentExtent> remaining,
        CancellationToken cancellationToken)
    {
        if (parts is [var all] && all == extent.Range)
        {
            remaining.Add(extent);
        }
        else if (extent.IsZero)
        {
            remaining.AddRange(parts.Select(part => new ContentExtent(part, null)));
        }
        else if (parts.Length != 0)
        {
            ReadOnlyMemory<byte> data = await reader.ReadAsync(extent, cancellationToken).ConfigureAwait(false);
            foreach (BlockRange part in parts)
            {
                int startBytes = (int)(part.OffsetBytes - extent.Range.OffsetBytes);
                remaining.Add(new ContentExtent(part, SHA256.HashData(data.Span.Slice(startBytes, (int)part.LengthBytes))));
            }
        }
    }

    private async ValueTask<Manifest> CopyAsync(Manifest merging, CancellationToken cancellationToken)
    {
        ContentReader reader = await repository.Images.OpenAsync(successor, cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            await CopyAsync(reader, merging, cancellationToken).ConfigureAwait(false);
        }

        folder.Reached?.Invoke("copied");
        Manifest merged = merging with { State = PointState.Merged };
        ManifestFile.Write(ManifestPath, merged);
        folder.Reached?.Invoke("merged");
        return merged;
    }

    private async ValueTask CopyAsync(ContentReader reader, Manifest merging, CancellationToken cancellationToken)
    {
        // Opened before anything says that the point is gone: whoever reads it, or one that builds on it, has the file open too.
        IBlockNode image = await repository.Images.OpenToMergeAsync(point, cancellationToken).ConfigureAwait(false);
        try
        {
            ManifestFile.Write(ManifestPath, merging);
            foreach (ContentExtent extent in successor.Content)
            {
                folder.Reached?.Invoke("merging");
                await CopyAsync(reader, extent, image, cancellationToken).ConfigureAwait(false);
            }

            await image.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await image.DisposeAsync().ConfigureAwait(false);
        }
    }

    // Only clusters that hold nothing are compressed, so the old ones are given up first.
    private async ValueTask CopyAsync(
        ContentReader reader, ContentExtent extent, IBlockNode image, CancellationToken cancellationToken)
    {
        if (extent.IsZero)
        {
            await image.WriteZeroesAsync(extent.Range.OffsetBytes, extent.Range.LengthBytes, WriteFlags.None, cancellationToken)
                .ConfigureAwait(false);
            return;
        }

        ReadOnlyMemory<byte> data = await reader.ReadAsync(extent, cancellationToken).ConfigureAwait(false);
        if (point.Compression != ImageCompression.None)
        {
            await image.DiscardAsync(extent.Range.OffsetBytes, extent.Range.LengthBytes, cancellationToken).ConfigureAwait(false);
        }

        await SparseWrite.WriteAsync(image, extent.Range.OffsetBytes, data, readsAsZero: false, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask RenameAsync(Manifest merged, CancellationToken cancellationToken)
    {
        string successorPath = folder.InFolder(successor.FileName);
        RepositoryFile.CheckIsNoLink(PointPath);
        RepositoryFile.CheckIsNoLink(successorPath);
        if (File.Exists(PointPath))
        {
            await Image.TakeOverIdentityAsync(PointPath, successorPath, point.Format, cancellationToken).ConfigureAwait(false);
            folder.Reached?.Invoke("known");
            FileNames.Move(PointPath, successorPath, overwrite: true);
        }

        folder.Reached?.Invoke("renamed");

        ImageInfo info = await Image.GetInfoAsync(successorPath, successor.Format, cancellationToken).ConfigureAwait(false);
        if ((info.ParentPath is null) != (merged.ParentId is null))
        {
            throw new BlockException(
                BackupErrors.BackupChainBroken,
                $"'{PointPath}', which was to take the name of '{successorPath}', is gone, and that file is still the one that builds " +
                "on it. Put it back.",
                PointPath);
        }

        IReadOnlyList<ContentExtent> content = await DescribeAsync(merged, successorPath, cancellationToken).ConfigureAwait(false);
        ManifestFile.Write(folder.InFolder(RepositoryNames.ManifestFor(successor.FileName)), successor with
        {
            ParentId = merged.ParentId,
            ParentContentDigest = merged.ParentContentDigest,
            HasMerged = true,
            Compression = merged.Compression,
            FileSizeBytes = info.FileSizeBytes,
            Content = content,
        });
        folder.Reached?.Invoke("described");
        FileNames.Delete(ManifestPath);
    }

    // A job that was killed behind this step does it again; what the successor's manifest has by then covers all that remains.
    private async ValueTask<IReadOnlyList<ContentExtent>> DescribeAsync(
        Manifest merged, string path, CancellationToken cancellationToken)
    {
        RangeSet covered = successor.Ranges;
        ContentExtent[] all =
        [
            .. successor.Content
                .Concat(merged.Content.Where(extent => covered.Without(extent.Range).Any()))
                .OrderBy(extent => extent.Range.OffsetBytes),
        ];
        ContentReader reader = await ContentReader.OpenAsync(
            path, successor.Format, merged.ParentId is not null, successor.SizeBytes, cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            return await ContentPieces.JoinAsync(all, reader, cancellationToken).ConfigureAwait(false);
        }
    }
}
