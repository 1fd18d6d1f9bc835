// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Repositories;

/// <summary>Compares what a manifest says with what the image says of itself.</summary>
/// <remarks>
/// What a manifest lists and the image does not map, every read finds. This is the reverse: an overlay that maps what its manifest does not
/// list has lost a part of the list, and a restore would show its parent's content there.
/// </remarks>
internal static class ContentMap
{
    /// <summary>Compares the parents, and what is listed with what is mapped, as far as the image's allocation unit goes: of a cluster
    /// that is listed in part, the rest came from the parent.</summary>
    /// <param name="repository">Where the backup is from.</param>
    /// <param name="manifest">The backup; nothing is compared for one that is being merged.</param>
    /// <param name="reader">Its image.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ManifestInvalid"/>, <see cref="BlockErrorKind.BackupChainBroken"/>,
    /// <see cref="BlockErrorKind.BackupDigestMismatch"/>, or why the image can't be read.</exception>
    public static async ValueTask CheckAsync(
        Repository repository, Manifest manifest, ContentReader reader, CancellationToken cancellationToken)
    {
        if (manifest.State != PointState.Kept)
        {
            return;
        }

        string path = repository.PathOf(manifest);
        ImageInfo info = await repository.CheckImageAsync(manifest, cancellationToken).ConfigureAwait(false);
        int unitBytes = manifest.Format == ImageFormat.Qcow2 ? info.BlockSizeBytes!.Value : info.LogicalSectorSizeBytes;
        RangeSet listed = Outward(repository.RangesIn(manifest), unitBytes, manifest.SizeBytes);
        if (await reader.FindUnlistedAsync(listed, manifest.SizeBytes, cancellationToken).ConfigureAwait(false) is { } unlisted)
        {
            string manifestPath = Path.Combine(repository.Path, manifest.ManifestName);
            throw new BlockException(
                BlockErrorKind.ManifestInvalid,
                $"'{manifestPath}' does not list the disk's {unlisted.LengthBytes} bytes at offset {unlisted.OffsetBytes}, which " +
                $"'{path}' holds. One of the two files is not the one that was made: put the right one back from a copy.",
                manifestPath,
                unlisted.OffsetBytes,
                "verify");
        }
    }

    private static RangeSet Outward(RangeSet ranges, int unitBytes, long sizeBytes) => RangeSet.Of(ranges.Ranges.Select(range =>
        BlockRange.FromEnds(
            range.OffsetBytes / unitBytes * unitBytes,
            range.EndBytes > sizeBytes - unitBytes ? sizeBytes : (range.EndBytes + unitBytes - 1) / unitBytes * unitBytes)));
}
