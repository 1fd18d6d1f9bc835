// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Block;

namespace Fleece.Backups.Restoring;

/// <summary>One thing to read in a restore.</summary>
/// <param name="LayerIndex">Which backup of the chain, the newest first; null for zeros that are read nowhere.</param>
/// <param name="Extent">What to read and check.</param>
/// <param name="Parts">What of it is to be written: what is visible in the point that is restored; empty for what is only checked.</param>
internal sealed record RestoreStep(int? LayerIndex, ContentExtent Extent, BlockRange[] Parts)
{
    /// <summary>Bytes of data that the step writes.</summary>
    public long DataBytes => Extent.IsZero ? 0 : Parts.Sum(part => part.LengthBytes);
}

/// <summary>How a point is put together from its chain: each byte is taken from the newest backup that holds it, once.</summary>
internal sealed class RestorePlan
{
    // So that a step is never long, whatever the target does to zero it.
    private const long MaximumZeroBytes = 64 * 1024 * 1024;

    private RestorePlan(IReadOnlyList<RestoreStep> steps, BlockRange range)
    {
        Steps = steps;
        Range = range;
    }

    /// <summary>The reads, in an order that depends on the manifests alone. Zeros are left out, but those of a backup that is a file of its
    /// own, for something else may have replaced that, and those of a manifest without a seal, which may have lost a digest.</summary>
    public IReadOnlyList<RestoreStep> Steps { get; }

    /// <summary>What of the disk is restored.</summary>
    public BlockRange Range { get; }

    /// <summary>Bytes of data that the reads bring.</summary>
    public long DataBytes => Steps.Sum(step => step.DataBytes);

    /// <summary>Plans a restore.</summary>
    /// <param name="chain">The point and those it builds on, newest first.</param>
    /// <param name="range">What is wanted of the disk.</param>
    /// <param name="path">What messages call the point.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/>: no backup of the chain holds some of it.
    /// </exception>
    public static RestorePlan Make(IReadOnlyList<Manifest> chain, BlockRange range, string path)
    {
        RangeSet covered = RangeSet.Empty;
        List<RestoreStep> steps = [];
        for (int layer = 0; layer < chain.Count; layer++)
        {
            bool mustCheckZeroes = chain[layer].IsSingleFile || !chain[layer].IsSealed;
            IEnumerable<ContentExtent> zeroes = chain[layer].Content
                .Where(extent => mustCheckZeroes && extent.IsZero && extent.Range.Overlaps(range))
                .Select(extent => new ContentExtent(extent.Range.Intersect(range), Digest: null));
            steps.AddRange(zeroes.Select(extent => new RestoreStep(layer, extent, [])));

            foreach (ContentExtent extent in chain[layer].Content.Where(extent => !extent.IsZero && extent.Range.Overlaps(range)))
            {
                BlockRange[] parts = [.. covered.Without(extent.Range.Intersect(range))];
                if (parts.Length != 0)
                {
                    steps.Add(new RestoreStep(layer, extent, parts));
                }
            }

            covered = covered.With(chain[layer].Content.Select(extent => extent.Range));
        }

        foreach (BlockRange hole in covered.Without(range))
        {
            throw chain[0].IsSingleFile ? NotHeld(chain[0], hole, path) : new BlockException(
                BackupErrors.BackupChainBroken,
                $"No backup that '{path}' builds on holds the disk's {hole.LengthBytes} bytes at offset {hole.OffsetBytes}. Put the " +
                "manifests back as they were.",
                path,
                hole.OffsetBytes);
        }

        return new RestorePlan(steps, range);
    }

    /// <summary>The plan for a target that may hold anything: behind the data, zeros are written wherever there is none.</summary>
    public RestorePlan WithZeroes()
    {
        List<RestoreStep> steps = [.. Steps];
        foreach (BlockRange zeroes in RangeSet.Of(Steps.SelectMany(step => step.Parts)).Without(Range))
        {
            for (long atBytes = zeroes.OffsetBytes; atBytes < zeroes.EndBytes; atBytes += MaximumZeroBytes)
            {
                BlockRange piece = BlockRange.FromEnds(atBytes, Math.Min(zeroes.EndBytes, atBytes + MaximumZeroBytes));
                steps.Add(new RestoreStep(LayerIndex: null, new ContentExtent(piece, Digest: null), [piece]));
            }
        }

        return new RestorePlan(steps, Range);
    }

    /// <summary>What tells this plan from any other: an interrupted restore goes on only where it is the same.</summary>
    public string Fingerprint()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[sizeof(long)];
        foreach (RestoreStep step in Steps)
        {
            foreach (BlockRange part in step.Parts)
            {
                BinaryPrimitives.WriteInt64LittleEndian(number, part.OffsetBytes);
                hash.AppendData(number);
                BinaryPrimitives.WriteInt64LittleEndian(number, part.LengthBytes);
                hash.AppendData(number);
            }

            hash.AppendData(step.Extent.Digest ?? []);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static BlockException NotHeld(Manifest manifest, BlockRange hole, string path) => new(
        BackupErrors.BackupParentMissing,
        $"'{path}' does not hold the disk's {hole.LengthBytes} bytes at offset {hole.OffsetBytes}: " +
        (manifest.ParentId is { } parentId
            ? $"it has what changed since the instant {parentId}, and only in a repository a backup builds on another one. "
            : "its session was limited to ranges, or was not read whole. ") +
        "Restore a range that it holds, with -OffsetBytes and -LengthBytes.",
        path,
        hole.OffsetBytes);
}
