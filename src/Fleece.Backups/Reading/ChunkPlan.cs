// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Backups.Reading;

/// <summary>Divides what can be read of a snapshot into chunks, in ascending order.</summary>
/// <remarks>
/// <para>Refused ranges are left out. Long zero runs become one chunk without data; everything else is cut at multiples of
/// the chunk size. All cuts lie on granules, so that consuming every chunk consumes every granule.</para>
/// <para>Threading. One caller at a time.</para>
/// </remarks>
internal sealed class ChunkPlan : IChunkPlan
{
    // A shorter zero run is cheaper to read along than to cut out.
    private const int MinimumZeroRunBytes = 64 * 1024;

    // So that a consumer that asks a zero chunk for its bytes can still get an array.
    private const long MaximumZeroChunkBytes = 1L << 30;

    private readonly ISnapshotSource _source;
    private readonly SnapshotReadOptions _options;
    private long _endBytes;
    private long _atBytes;
    private BlockRange _readable;
    private long _knownDataEndBytes;

    public ChunkPlan(ISnapshotSource source, SnapshotReadOptions options)
    {
        BlockRange.CheckPowerOfTwo(
            options.ChunkSizeBytes,
            Math.Max(SnapshotReadOptions.MinimumChunkSizeBytes, source.GranuleSizeBytes),
            SnapshotReadOptions.MaximumChunkSizeBytes,
            "The chunk size");
        BlockRange range = new(
            options.OffsetBytes, options.LengthBytes ?? Math.Max(0, source.SizeBytes - options.OffsetBytes));
        range.CheckWithin(source.SizeBytes, source.Id, "read");
        _source = source;
        _options = options;
        Range = range;
        _atBytes = range.OffsetBytes;
        _endBytes = range.EndBytes;
    }

    /// <summary>All that is asked for.</summary>
    public BlockRange Range { get; }

    /// <summary>Goes on with a part of <see cref="Range"/>, up to that part's end.</summary>
    public void Restrict(BlockRange part)
    {
        BlockRange kept = part.Intersect(Range);
        _atBytes = kept.OffsetBytes;
        _endBytes = kept.EndBytes;
        _readable = default;
        _knownDataEndBytes = 0;
    }

    /// <inheritdoc/>
    public async ValueTask<(BlockRange Range, bool IsZero)> NextAsync(CancellationToken cancellationToken)
    {
        if (_atBytes >= _readable.EndBytes)
        {
            _readable = await _source.FindReadableAsync(_atBytes, _endBytes, cancellationToken).ConfigureAwait(false);
            _atBytes = _readable.OffsetBytes;
            if (_readable.IsEmpty)
            {
                return (_readable, false);
            }
        }

        long zeroEndBytes = await ZeroEndAsync(_atBytes, MaximumZeroChunkBytes, cancellationToken).ConfigureAwait(false);
        if (IsWorthCutting(_atBytes, zeroEndBytes))
        {
            return (Take(zeroEndBytes), true);
        }

        return (Take(await DataEndAsync(cancellationToken).ConfigureAwait(false)), false);
    }

    private BlockRange Take(long endBytes)
    {
        BlockRange range = BlockRange.FromEnds(_atBytes, endBytes);
        _atBytes = endBytes;
        return range;
    }

    /// <summary>The end of the data chunk at the current place: the next cut, or a zero run that is worth a cut.</summary>
    private async ValueTask<long> DataEndAsync(CancellationToken cancellationToken)
    {
        long cutBytes = Math.Min(
            _readable.EndBytes, (_atBytes / _options.ChunkSizeBytes + 1) * _options.ChunkSizeBytes);
        for (long atBytes = Math.Max(_atBytes, Math.Min(_knownDataEndBytes, cutBytes)); atBytes < cutBytes;)
        {
            BlockStatusRun run = await _source.Snapshot.GetStatusAsync(atBytes, _readable.EndBytes - atBytes, cancellationToken)
                .ConfigureAwait(false);
            if (!run.ReadsAsZero)
            {
                // Data stays data for the life of the snapshot, so the next chunks need not ask again.
                atBytes = _knownDataEndBytes = atBytes + run.LengthBytes;
                continue;
            }

            long zeroStartBytes = RoundUpToGranule(atBytes);
            long zeroEndBytes = await ZeroEndAsync(atBytes, MinimumZeroRunBytes * 2, cancellationToken)
                .ConfigureAwait(false);
            if (zeroStartBytes > _atBytes && IsWorthCutting(zeroStartBytes, zeroEndBytes))
            {
                return Math.Min(cutBytes, zeroStartBytes);
            }

            atBytes = Math.Max(atBytes + run.LengthBytes, zeroEndBytes);
        }

        return cutBytes;
    }

    /// <summary>Where the zeros that start at an offset end, on a granule; the offset itself when it holds data.</summary>
    private async ValueTask<long> ZeroEndAsync(long startBytes, long maximumBytes, CancellationToken cancellationToken)
    {
        long limitBytes = Math.Min(_readable.EndBytes, startBytes + maximumBytes);
        long endBytes = startBytes;
        while (endBytes < limitBytes && endBytes >= _knownDataEndBytes)
        {
            BlockStatusRun run = await _source.Snapshot.GetStatusAsync(endBytes, limitBytes - endBytes, cancellationToken)
                .ConfigureAwait(false);
            if (!run.ReadsAsZero)
            {
                break;
            }

            endBytes += run.LengthBytes;
        }

        return endBytes == _readable.EndBytes
            ? endBytes
            : Math.Max(startBytes, endBytes - (endBytes % _source.GranuleSizeBytes));
    }

    private bool IsWorthCutting(long startBytes, long endBytes) =>
        endBytes - startBytes >= MinimumZeroRunBytes || (endBytes > startBytes && endBytes == _readable.EndBytes);

    private long RoundUpToGranule(long offsetBytes) =>
        (offsetBytes + _source.GranuleSizeBytes - 1) / _source.GranuleSizeBytes * _source.GranuleSizeBytes;
}
