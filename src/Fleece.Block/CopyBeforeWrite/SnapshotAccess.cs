// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What readers see of a <see cref="PointInTime"/>: its bytes, their status, its map, and discarding them.</summary>
/// <remarks>
/// <para>There is one for everybody, and one for each consumer that is counted: to that one, what it has confirmed is refused as if it
/// were consumed, and discarding is confirming.</para>
/// <para>A read is split where the done map changes. What is done comes from temp; the rest comes from the active disk while
/// a frozen read holds guest writes back. Reads never wait for guests or copies (I3), but for the short time in which they give way on a
/// disk that is overloaded (<see cref="Pressure.ReaderDelay"/>). When all bytes are there the state
/// and the access map are tested once more, and only then the read succeeds (I6).</para>
/// <para>Errors. <see cref="BlockErrors.Denied"/>, <see cref="BlockErrors.Consumed"/>,
/// <see cref="BlockErrors.Broken"/>, <see cref="BlockErrors.Stopped"/>; for writes
/// <see cref="BlockErrors.ReadOnly"/>. The buffer of a failed read holds unspecified bytes.</para>
/// <para>Ownership. Disposing it does nothing; the session owns active disk and temp.</para>
/// </remarks>
internal sealed partial class SnapshotAccess : IBlockNode, ISnapshotMap
{
    private readonly PointInTime _point;
    private readonly SnapshotConsumer? _consumer;

    internal SnapshotAccess(PointInTime point, SnapshotConsumer? consumer)
    {
        _point = point;
        _consumer = consumer;
        Geometry = point.Filter.Geometry with
        {
            IsReadOnly = false,
            RequestAlignmentBytes =
                Math.Max(point.Filter.Geometry.RequestAlignmentBytes, point.Temp.Geometry.RequestAlignmentBytes),
        };
    }

    /// <inheritdoc/>
    /// <remarks>Not read-only: discarding is offered. Any request may reach the active disk or temp, so it obeys both.</remarks>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => _point.Filter.CanReadAhead;

    /// <summary>Whether the snapshot can still be read.</summary>
    public SessionState State => _point.State;

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        GranuleRun run = Cover(offsetBytes, buffer.Length, "read");
        CheckReadable(run);
        if (_point.ReaderDelay.IsDue)
        {
            long startedAt = Stopwatch.GetTimestamp();
            _point.ReaderDelay.Wait(cancellationToken);
            _point.Metrics.NoteReaderWait(startedAt);
        }

        long endBytes = offsetBytes + buffer.Length;
        try
        {
            for (long atBytes = offsetBytes; atBytes < endBytes;)
            {
                GranuleRun rest = run with { Start = _point.Granules.IndexOf(atBytes) };
                using Piece piece = NextPiece(rest);
                int lengthBytes = (int)(Math.Min(endBytes, _point.Granules.EndBytes(piece.Run.End)) - atBytes);
                Memory<byte> target = buffer.Slice((int)(atBytes - offsetBytes), lengthBytes);
                await piece.Source.ReadAsync(atBytes, target, cancellationToken).ConfigureAwait(false);
                _point.Metrics.NoteRead(piece.Source == _point.Temp, lengthBytes);
                atBytes += lengthBytes;
            }
        }
        catch (BlockException)
        {
            // A session that broke meanwhile explains the failure better than the I/O it spoiled.
            CheckReadable(run);
            throw;
        }

        Interlocked.MemoryBarrier();
        CheckReadable(run);
    }

    /// <inheritdoc/>
    /// <remarks>A range of which something is refused is not touched, and nothing is while guests wait for the disk. A granule
    /// that is copied meanwhile was read ahead from the wrong place, which costs its time and nothing else.</remarks>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        GranuleRun rest = Cover(offsetBytes, lengthBytes, "read");
        if (_point.Condition.IsOver || FirstRefused(rest) < rest.End || _point.ReaderDelay.IsDue)
        {
            return;
        }

        while (!rest.IsEmpty)
        {
            long done = _point.Done.FirstIn(rest);
            bool isDone = done == rest.Start;
            GranuleRun head = rest with { End = isDone ? _point.Done.FirstNotIn(rest) : done };
            BlockRange bytes = _point.Granules.Bytes(head).Intersect(new BlockRange(offsetBytes, lengthBytes));
            (isDone ? _point.Temp : _point.Filter.Active).ReadAhead(bytes.OffsetBytes, bytes.LengthBytes);
            rest = rest with { Start = head.End };
        }
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
        CheckReadable(first);

        // Only the first granule decides between an answer and an error (I5): those behind it are searched without it, for
        // it may be consumed any moment and would leave nothing to ask about.
        GranuleRun behind = run with { Start = first.End };
        GranuleRun readable = run with { End = FirstRefused(behind) };
        BlockStatusRun status;
        using (Piece piece = NextPiece(readable))
        {
            long endBytes = Math.Min(offsetBytes + lengthBytes, _point.Granules.EndBytes(piece.Run.End));
            status = await piece.Source.GetStatusAsync(offsetBytes, endBytes - offsetBytes, cancellationToken)
                .ConfigureAwait(false);
        }

        Interlocked.MemoryBarrier();
        long readableEndBytes = _point.Granules.EndBytes(FirstRefused(behind));
        CheckReadable(first);
        return status with { LengthBytes = Math.Min(status.LengthBytes, readableEndBytes - offsetBytes) };
    }

    /// <inheritdoc/>
    /// <remarks>Rounds inward to whole granules (I7); a range that holds none succeeds and changes nothing.</remarks>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, null, "discard");
        _point.Condition.ThrowUnlessActive();
        GranuleRun run = _point.Granules.Within(range);
        return run.IsEmpty ? default
            : _point.Consumers.Count == 0 ? ConsumeAsync(run, cancellationToken)
            : ConfirmAsync(run, cancellationToken);
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
    public ValueTask DisposeAsync() => default;

    // The access map is narrowed first: a read from temp that overlaps fails its second test instead of returning bytes that are
    // being freed.
    private ValueTask ConsumeAsync(GranuleRun run, CancellationToken cancellationToken) =>
        _point.Consume(run) ? FreeAsync(run, cancellationToken) : default;

    private async ValueTask ConfirmAsync(GranuleRun run, CancellationToken cancellationToken)
    {
        List<GranuleRun> stored = [];
        foreach (GranuleRun finished in _point.CountedConsumers.Confirm(_consumer, run))
        {
            // All of it before any I/O: what everybody has confirmed is consumed, also where giving its space back fails.
            if (_point.Consume(finished, isConfirmed: true))
            {
                stored.Add(finished);
            }
        }

        foreach (GranuleRun finished in stored)
        {
            await FreeAsync(finished, cancellationToken).ConfigureAwait(false);
        }
    }

    private ValueTask FreeAsync(GranuleRun run, CancellationToken cancellationToken)
    {
        BlockRange bytes = _point.Granules.Bytes(run);
        return _point.Temp.DiscardAsync(bytes.OffsetBytes, bytes.LengthBytes, cancellationToken);
    }

    private GranuleRun Cover(long offsetBytes, long lengthBytes, string operation)
    {
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, null, operation);
        return _point.Granules.Cover(offsetBytes, lengthBytes);
    }

    private void CheckReadable(GranuleRun run)
    {
        _point.Condition.ThrowUnlessActive();
        long refused = FirstRefused(run);
        if (refused >= run.End)
        {
            return;
        }

        long offsetBytes = _point.Granules.Bytes(new GranuleRun(refused, refused + 1)).OffsetBytes;
        if (_point.IsDenied(refused))
        {
            throw new BlockException(
                BlockErrors.Denied,
                $"The snapshot does not include offset {offsetBytes}: the session was limited to other ranges when it " +
                "started. Get-FleeceSnapshotMap shows what can be read.",
                offsetBytes: offsetBytes,
                operation: "read");
        }

        if (_consumer is not null && !_point.Refused.Contains(refused))
        {
            throw new BlockException(
                BlockErrors.Consumed,
                $"The consumer '{_consumer.Name}' has confirmed the snapshot at offset {offsetBytes}, so it does not get it again. The " +
                "session keeps it until its other consumers have confirmed it too.",
                offsetBytes: offsetBytes,
                operation: "read");
        }

        throw new BlockException(
            BlockErrors.Consumed,
            $"The snapshot at offset {offsetBytes} was consumed: it was read, confirmed and discarded. Start a new session " +
            "to read the range again.",
            offsetBytes: offsetBytes,
            operation: "read");
    }

    /// <summary>
    /// The head of a run that comes from one place. When that is the active disk, the head is frozen until the piece is
    /// disposed.
    /// </summary>
    private Piece NextPiece(GranuleRun run)
    {
        while (true)
        {
            // One look decides: asked twice, the first granule could become done in between and leave an empty head.
            GranuleRun head = run with { End = Math.Min(run.End, run.Start + FrozenReads.MaximumGranulesPerRead) };
            head = head with { End = _point.Done.FirstIn(head) };
            if (head.IsEmpty)
            {
                return new Piece(_point.Temp, run with { End = _point.Done.FirstNotIn(run) }, null, default);
            }

            FrozenReads.Ticket ticket = _point.Frozen.Enter(head);

            // Second half of the handshake in FrozenReads: what was settled before the slot was visible goes to temp.
            long done = _point.Done.FirstIn(head);
            if (done == head.Start)
            {
                _point.Frozen.Exit(ticket);
                continue;
            }

            if (done < head.End)
            {
                head = head with { End = done };
                _point.Frozen.Shrink(ticket, head);
            }

            return new Piece(_point.Filter.Active, head, _point.Frozen, ticket);
        }
    }

    private static BlockException WriteRefused(long offsetBytes, string operation) =>
        new(
            BlockErrors.ReadOnly,
            $"Cannot {operation} at offset {offsetBytes}: a snapshot can be read and discarded, not written.",
            offsetBytes: offsetBytes,
            operation: operation);

    private readonly struct Piece(IBlockNode source, GranuleRun run, FrozenReads? frozen, FrozenReads.Ticket ticket)
        : IDisposable
    {
        public IBlockNode Source { get; } = source;

        public GranuleRun Run { get; } = run;

        public void Dispose() => frozen?.Exit(ticket);
    }
}
