// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Sessions.Backups;

namespace Fleece.Sessions.Repositories;

/// <summary>One thing to read in a restore.</summary>
/// <param name="LayerIndex">Which backup of the chain, the newest first.</param>
/// <param name="Extent">What to read and check.</param>
/// <param name="Parts">What of it is visible in the point that is restored.</param>
internal sealed record RestoreStep(int LayerIndex, ContentExtent Extent, BlockRange[] Parts);

/// <summary>How a point is put together from its chain: each byte is taken from the newest backup that holds it, once.</summary>
internal sealed class RestorePlan
{
    private RestorePlan(IReadOnlyList<RestoreStep> steps, BlockRange range)
    {
        Steps = steps;
        Range = range;
    }

    /// <summary>The reads, in an order that depends on the manifests alone. Zeros are left out.</summary>
    public IReadOnlyList<RestoreStep> Steps { get; }

    /// <summary>What of the disk is restored.</summary>
    public BlockRange Range { get; }

    /// <summary>Bytes of data that the reads bring.</summary>
    public long DataBytes => Steps.SelectMany(step => step.Parts).Sum(part => part.LengthBytes);

    /// <summary>Plans a restore.</summary>
    /// <param name="chain">The point and those it builds on, newest first.</param>
    /// <param name="range">What is wanted of the disk.</param>
    /// <param name="path">What messages call the point.</param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupChainBroken"/>: no backup of the chain holds some of it.
    /// </exception>
    public static RestorePlan Make(IReadOnlyList<Manifest> chain, BlockRange range, string path)
    {
        RangeSet covered = RangeSet.Empty;
        List<RestoreStep> steps = [];
        for (int layer = 0; layer < chain.Count; layer++)
        {
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
            throw new BlockException(
                BlockErrorKind.BackupChainBroken,
                $"No backup that '{path}' builds on holds the disk's {hole.LengthBytes} bytes at offset {hole.OffsetBytes}. Put the " +
                "manifests back as they were.",
                path,
                hole.OffsetBytes);
        }

        return new RestorePlan(steps, range);
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

            hash.AppendData(step.Extent.Digest!);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
