// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Block;

namespace Fleece.Backups.Retaining;

/// <summary>Keeps manifests small: many small digests of one extent become one.</summary>
internal static class ContentPieces
{
    /// <summary>So many neighbours within one extent are joined; fewer cost less than reading them.</summary>
    public const int WorthJoining = 8;

    /// <summary>Joins neighbours. All that a new digest covers is compared with the old ones first.</summary>
    /// <param name="content">In order and disjoint.</param>
    /// <param name="reader">The image that holds it.</param>
    /// <param name="cancellationToken">Ends the work between two reads.</param>
    public static async ValueTask<IReadOnlyList<ContentExtent>> JoinAsync(
        IReadOnlyList<ContentExtent> content, ContentReader reader, CancellationToken cancellationToken)
    {
        List<ContentExtent> joined = new(content.Count);
        for (int first = 0; first < content.Count;)
        {
            int next = EndOfNeighbours(content, first);
            if (next - first < WorthJoining)
            {
                joined.AddRange(content.Skip(first).Take(next - first));
            }
            else
            {
                joined.Add(await JoinAsync(content, first, next, reader, cancellationToken).ConfigureAwait(false));
            }

            first = next;
        }

        return joined;
    }

    private static int EndOfNeighbours(IReadOnlyList<ContentExtent> content, int first)
    {
        int next = first + 1;
        while (next < content.Count && !content[first].IsZero && !content[next].IsZero &&
            content[next].Range.OffsetBytes == content[next - 1].Range.EndBytes &&
            content[next].Range.OffsetBytes % ContentExtent.ExtentBytes != 0)
        {
            next++;
        }

        return next;
    }

    private static async ValueTask<ContentExtent> JoinAsync(
        IReadOnlyList<ContentExtent> content, int first, int next, ContentReader reader, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int i = first; i < next; i++)
        {
            hash.AppendData((await reader.ReadAsync(content[i], cancellationToken).ConfigureAwait(false)).Span);
        }

        return new ContentExtent(
            BlockRange.FromEnds(content[first].Range.OffsetBytes, content[next - 1].Range.EndBytes), hash.GetHashAndReset());
    }
}
