// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd.Client;

namespace Fleece.Qemu.Reading;

/// <summary>Reads, status and discards of a snapshot that QEMU exports, in requests that its version can take.</summary>
/// <remarks>
/// <para>No request is sent that touches a refused cluster. The map is asked again when the bytes are there, and only then the read
/// succeeds.</para>
/// <para>Where QEMU may lose the snapshot, it is probed as well when the bytes are there. QEMU lets the guest's writes pass once a copy has
/// failed, and lets a read that is on its way return their new data with success. It refuses each request that begins afterwards. So a
/// probe that begins when the bytes are there, and succeeds, shows that no write had passed before. Zeros that a status tells, and
/// that no client reads, are probed too. Discards need no probe: what a client has got before was whole.</para>
/// <para>Where QEMU ends on overlapping requests, each request holds its clusters from before it is sent until its reply has come, so a
/// request that was sent is never cancelled. A cancelled read ends when those of its requests that were sent have ended.</para>
/// <para>Errors. <see cref="BlockErrors.Denied"/>, <see cref="BlockErrors.Consumed"/>; <see cref="BlockErrors.Broken"/> where QEMU refuses
/// what it should have, and for all requests from then on; <see cref="BlockErrors.ReadOnly"/> for writes; those of
/// <see cref="NbdNode"/>, of which a lost connection fails all requests from then on as well. The buffer of a failed read holds
/// unspecified bytes.</para>
/// <para>Ownership. It owns the connections of its node.</para>
/// </remarks>
internal sealed class SnapshotNode(NbdNode node, SnapshotMap map, QemuSnapshotOptions options) : IBlockNode
{
    // QEMU reads the pieces of one request one after the other, and serves 16 requests of a connection at a time (MAX_NBD_REQUESTS in
    // nbd/server.c). So pieces are long enough to make their cost small and short enough to be many.
    private const int PieceBytes = 256 * 1024;
    private const int PiecesAtOnce = 16;

    // A query holds its clusters, so it must not ask for the whole disk. Also a multiple of every cluster size, for discards.
    private const long MaximumRangeBytes = 1L << 30;

    private const int VerifiedAtOnce = 64;

    private const int ProbeBytes = 512;

    private readonly RangeLocks? _locks = options.Rules.RefusesOverlaps ? new RangeLocks() : null;
    private readonly int _pieceBytes =
        options.Rules.ReadsOneClusterAtATime ? options.ClusterSizeBytes : Math.Max(PieceBytes, options.ClusterSizeBytes);

    // All probes read into it, and nothing looks at it.
    private readonly byte[] _probe = new byte[Math.Max(ProbeBytes, node.Geometry.RequestAlignmentBytes)];

    private BlockException? _failedBy;

    /// <inheritdoc/>
    public BlockGeometry Geometry => node.Geometry;

    /// <inheritdoc/>
    public bool CanReadAhead => false;

    /// <summary>The first failure that a request has met because QEMU lost the snapshot or ended; null while there was none.</summary>
    public BlockException? FailedBy => Volatile.Read(ref _failedBy);

    /// <summary>Why nothing can be read any more, whether or not a request has met it; null while QEMU is not known to have lost the
    /// snapshot, and its connections last. Of the kind <see cref="BlockErrors.Broken"/> where QEMU refuses what it should have.</summary>
    public BlockException? BrokenBy => FailedBy ?? LostConnection;

    private BlockException? LostConnection => node.Failure is { Kind: not BlockErrors.Closed } lost ? lost : null;

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        GranuleRun run = Cover(offsetBytes, buffer.Length, "read");
        CheckReadable(run);
        if (FirstCut(offsetBytes) >= offsetBytes + buffer.Length)
        {
            await ReadPieceAsync(offsetBytes, buffer, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await ReadPiecesAsync(offsetBytes, buffer, cancellationToken).ConfigureAwait(false);
        }

        await ProbeAsync(offsetBytes, buffer.Length, cancellationToken).ConfigureAwait(false);
        Interlocked.MemoryBarrier();
        CheckReadable(run);
    }

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        GranuleRun run = Cover(offsetBytes, lengthBytes, "query");
        if (run.IsEmpty)
        {
            return default;
        }

        GranuleRun first = run with { End = run.Start + 1 };
        GranuleRun behind = run with { Start = first.End };
        while (true)
        {
            CheckReadable(first);
            long endBytes = Math.Min(offsetBytes + lengthBytes, map.Clusters.EndBytes(map.FirstRefused(behind)));
            BlockRange asked = new(offsetBytes, Math.Min(endBytes - offsetBytes, MaximumRangeBytes));
            try
            {
                BlockStatusRun status = await AskAsync(asked, isExact: false, cancellationToken).ConfigureAwait(false);
                if (status.ReadsAsZero && options.Rules.ReadsOneClusterAtATime)
                {
                    status = await VerifyAsync(BlockRange.FromEnds(offsetBytes, offsetBytes + status.LengthBytes), cancellationToken)
                        .ConfigureAwait(false);
                }

                if (status.ReadsAsZero)
                {
                    await ProbeAsync(offsetBytes, status.LengthBytes, cancellationToken).ConfigureAwait(false);
                }

                Interlocked.MemoryBarrier();
                CheckReadable(first);
                long readableBytes = map.Clusters.EndBytes(map.FirstRefused(behind)) - offsetBytes;
                return status with { LengthBytes = Math.Min(status.LengthBytes, readableBytes) };
            }
            catch (BlockException refusal) when (refusal.Kind == BlockErrors.Consumed && map.FirstRefused(first) == first.End)
            {
                // Clusters behind the first were consumed before they were asked about; those before them still have an answer.
            }
        }
    }

    /// <inheritdoc/>
    /// <remarks>Rounds inward to whole clusters. The disk's last, partial cluster counts as whole, and is refused from then on, but is not
    /// sent: QEMU 9.1 leaves it out and older ones are not asked to take it. Temp keeps that one cluster.</remarks>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, options.Id, "discard");
        ThrowIfBroken();
        GranuleRun run = map.Clusters.Within(range);
        if (run.IsEmpty || !map.Consume(run))
        {
            return;
        }

        long wholeEnd = Geometry.LengthBytes / options.ClusterSizeBytes;
        long stepCount = MaximumRangeBytes / options.ClusterSizeBytes;
        for (long start = run.Start; start < Math.Min(run.End, wholeEnd);)
        {
            GranuleRun step = new(start, Math.Min(Math.Min(run.End, wholeEnd), start + stepCount));
            await DiscardStepAsync(step).ConfigureAwait(false);
            start = step.End;
        }
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        throw WriteRefused(offsetBytes, "write");

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        throw WriteRefused(offsetBytes, "write zeros");

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => node.DisposeAsync();

    private long FirstCut(long offsetBytes) => (offsetBytes / _pieceBytes + 1) * _pieceBytes;

    // Several pieces at once, awaited in order. It ends when all that were started have ended, because they fill the caller's buffer.
    private async ValueTask ReadPiecesAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        ValueTask[] running = new ValueTask[PiecesAtOnce];
        ExceptionDispatchInfo? failure = null;
        long endBytes = offsetBytes + buffer.Length;
        long atBytes = offsetBytes;
        int started = 0;
        for (int ended = 0; ended < started || (atBytes < endBytes && failure is null);)
        {
            if (atBytes < endBytes && failure is null && started - ended < PiecesAtOnce)
            {
                int lengthBytes = (int)(Math.Min(endBytes, FirstCut(atBytes)) - atBytes);
#pragma warning disable CA2012 // Each is awaited once, before its place is used again.
                running[started++ % PiecesAtOnce] =
                    ReadPieceAsync(atBytes, buffer.Slice((int)(atBytes - offsetBytes), lengthBytes), cancellationToken);
#pragma warning restore CA2012
                atBytes += lengthBytes;
                continue;
            }

            try
            {
                await running[ended++ % PiecesAtOnce].ConfigureAwait(false);
            }
            catch (Exception cause) when (cause is BlockException or OperationCanceledException)
            {
                failure ??= ExceptionDispatchInfo.Capture(cause);
            }
        }

        failure?.Throw();
    }

    /// <summary>Makes sure that QEMU had not lost the snapshot when this began.</summary>
    /// <param name="offsetBytes">Start of the request whose answer is there.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="cancellationToken">Gives up before the probe is sent.</param>
    private ValueTask ProbeAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        options.OnCopyError == CopyErrorPolicy.BreakSnapshot && lengthBytes != 0
            ? ReadPieceAsync(offsetBytes, _probe.AsMemory(0, (int)Math.Min(lengthBytes, _probe.Length)), cancellationToken)
            : default;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadPieceAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        GranuleRun run = map.Clusters.Cover(offsetBytes, buffer.Length);
        RangeLocks.Holder? holder = _locks is null ? null : await _locks.EnterAsync(run).ConfigureAwait(false);
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            CheckReadable(run);
            await node.ReadAsync(offsetBytes, buffer, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException failure)
        {
            CheckReadable(run);
            ThrowIfRefusal(failure, offsetBytes);
            throw;
        }
        finally
        {
            Exit(holder);
        }
    }

    /// <summary>Asks for the status of the run that starts a range, of which nothing is refused.</summary>
    /// <param name="asked">What is asked about, and nothing else.</param>
    /// <param name="isExact">True for a query of this range alone; otherwise it may be answered from what a longer one has told.</param>
    /// <param name="cancellationToken">Gives up before it is sent.</param>
    private async ValueTask<BlockStatusRun> AskAsync(BlockRange asked, bool isExact, CancellationToken cancellationToken)
    {
        GranuleRun run = map.Clusters.Cover(asked.OffsetBytes, asked.LengthBytes);
        RangeLocks.Holder? holder = _locks is null ? null : await _locks.EnterAsync(run).ConfigureAwait(false);
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            CheckReadable(run);
            return isExact
                ? await node.AskStatusAsync(asked.OffsetBytes, asked.LengthBytes, CancellationToken.None).ConfigureAwait(false)
                : await node.GetStatusAsync(asked.OffsetBytes, asked.LengthBytes, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException failure)
        {
            CheckReadable(run);
            ThrowIfRefusal(failure, asked.OffsetBytes);
            throw;
        }
        finally
        {
            Exit(holder);
        }
    }

    /// <summary>Asks about zeros cluster by cluster, where a longer query may have been answered from the guest's new data. Data needs no
    /// such question: reading it is right whatever it is.</summary>
    private async ValueTask<BlockStatusRun> VerifyAsync(BlockRange zeros, CancellationToken cancellationToken)
    {
        List<Task<BlockStatusRun>> asking = new(VerifiedAtOnce);
        for (long atBytes = zeros.OffsetBytes; atBytes < zeros.EndBytes && asking.Count < VerifiedAtOnce;)
        {
            BlockRange piece = BlockRange.FromEnds(atBytes, Math.Min(zeros.EndBytes, ClusterEndBytes(atBytes)));
            asking.Add(AskAsync(piece, isExact: true, cancellationToken).AsTask());
            atBytes = piece.EndBytes;
        }

        await ((Task)Task.WhenAll(asking)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        BlockStatusRun joined = await asking[0].ConfigureAwait(false);
        foreach (Task<BlockStatusRun> next in asking[1..])
        {
            long atBytes = zeros.OffsetBytes + joined.LengthBytes;
            if (ClusterEndBytes(atBytes - 1) != atBytes || !next.IsCompletedSuccessfully)
            {
                break;
            }

            BlockStatusRun run = await next.ConfigureAwait(false);
            if (run.Status != joined.Status)
            {
                break;
            }

            joined = joined with { LengthBytes = joined.LengthBytes + run.LengthBytes };
        }

        return joined;
    }

    private long ClusterEndBytes(long offsetBytes) => map.Clusters.EndBytes(map.Clusters.IndexOf(offsetBytes) + 1);

    private async ValueTask DiscardStepAsync(GranuleRun step)
    {
        BlockRange bytes = map.Clusters.Bytes(step);
        RangeLocks.Holder? holder = _locks is null ? null : await _locks.EnterAsync(step).ConfigureAwait(false);
        try
        {
            await node.DiscardAsync(bytes.OffsetBytes, bytes.LengthBytes, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException failure)
        {
            ThrowIfRefusal(failure, bytes.OffsetBytes);
            throw;
        }
        finally
        {
            Exit(holder);
        }
    }

    private void Exit(RangeLocks.Holder? holder)
    {
        if (holder is not null)
        {
            _locks!.Exit(holder);
        }
    }

    private GranuleRun Cover(long offsetBytes, long lengthBytes, string operation)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, options.Id, operation);
        return map.Clusters.Cover(offsetBytes, lengthBytes);
    }

    private void CheckReadable(GranuleRun run)
    {
        ThrowIfBroken();
        map.CheckReadable(run);
    }

    // A lost connection is told by the node.
    private void ThrowIfBroken()
    {
        if (FailedBy is { Kind: BlockErrors.Broken } first)
        {
            throw Broken(first, first.OffsetBytes);
        }
    }

    // The node's errors are of the kind Broken where QEMU answers EINVAL.
    private void ThrowIfRefusal(BlockException failure, long offsetBytes)
    {
        if (failure.Kind == BlockErrors.Broken)
        {
            throw Broken(Interlocked.CompareExchange(ref _failedBy, failure, null) ?? failure, offsetBytes);
        }

        if (LostConnection is { } lost)
        {
            _ = Interlocked.CompareExchange(ref _failedBy, lost, null);
        }
    }

    private BlockException Broken(BlockException cause, long? offsetBytes) =>
        new(
            BlockErrors.Broken,
            $"The snapshot '{options.Id}' is lost: QEMU refuses offset {offsetBytes}, which it should have. It does so when old data " +
            "could not be copied, or not in time, and the guest's write went on. Start a new session.",
            offsetBytes: offsetBytes,
            operation: "read",
            cause: cause);

    private BlockException WriteRefused(long offsetBytes, string operation) =>
        new(
            BlockErrors.ReadOnly,
            $"Cannot {operation} at offset {offsetBytes} of '{options.Id}': a snapshot can be read and discarded, not written.",
            offsetBytes: offsetBytes,
            operation: operation);
}
