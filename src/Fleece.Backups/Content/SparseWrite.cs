// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Content;

/// <summary>Stores bytes without storing the zeros among them.</summary>
/// <remarks>A guest zeroes by writing as often as by trimming, and most formats store what is written.</remarks>
internal static class SparseWrite
{
    /// <summary>Zeros are looked for in pieces of this size, on multiples of it: a cluster of most qcow2 images.</summary>
    public const int PieceBytes = 64 * 1024;

    /// <summary>Writes the data; pieces of zeros are zeroed, or left alone where the target reads as zeros anyhow.</summary>
    public static async ValueTask WriteAsync(
        IBlockNode target, long offsetBytes, ReadOnlyMemory<byte> data, bool readsAsZero, CancellationToken cancellationToken)
    {
        for (int at = 0; at < data.Length;)
        {
            int lengthBytes = RunLength(offsetBytes, data.Span, at, out bool isZero);
            if (!isZero)
            {
                await target.WriteAsync(offsetBytes + at, data.Slice(at, lengthBytes), WriteFlags.None, cancellationToken)
                    .ConfigureAwait(false);
            }
            else if (!readsAsZero)
            {
                await target.WriteZeroesAsync(offsetBytes + at, lengthBytes, WriteFlags.None, cancellationToken)
                    .ConfigureAwait(false);
            }

            at += lengthBytes;
        }
    }

    private static int RunLength(long offsetBytes, ReadOnlySpan<byte> data, int start, out bool isZero)
    {
        int end = PieceEnd(offsetBytes, data.Length, start);
        isZero = IsZero(data[start..end]);
        while (end < data.Length)
        {
            int next = PieceEnd(offsetBytes, data.Length, end);
            if (IsZero(data[end..next]) != isZero)
            {
                break;
            }

            end = next;
        }

        return end - start;
    }

    private static int PieceEnd(long offsetBytes, int dataBytes, int at) =>
        (int)Math.Min(dataBytes, at + PieceBytes - ((offsetBytes + at) % PieceBytes));

    private static bool IsZero(ReadOnlySpan<byte> piece) => piece.IndexOfAnyExcept((byte)0) < 0;
}
