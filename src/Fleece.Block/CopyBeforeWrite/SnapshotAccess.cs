// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What readers see of a <see cref="PointInTime"/>: its bytes, their status, and discarding them.</summary>
/// <remarks>
/// <para>A read is split where the done map changes. What is done comes from temp; the rest comes from the active disk while
/// a frozen read holds guest writes back. Reads never wait for guests or copies (I3). When all bytes are there the state
/// and the access map are tested once more, and only then the read succeeds (I6).</para>
/// <para>Errors. <see cref="BlockErrorKind.Denied"/>, <see cref="BlockErrorKind.Consumed"/>,
/// <see cref="BlockErrorKind.Broken"/>, <see cref="BlockErrorKind.Stopped"/>; for writes
/// <see cref="BlockErrorKind.ReadOnly"/>. The buffer of a failed read holds unspecified bytes.</para>
/// <para>Ownership. Disposing it does nothing; the session owns active disk and temp.</para>
/// </remarks>
internal sealed class SnapshotAccess(PointInTime point) : IBlockNode
{
    /// <inheritdoc/>
    /// <remarks>Not read-only: discarding is offered. Any request may reach the active disk or temp, so it obeys both.</remarks>
    public BlockGeometry Geometry { get; } = point.Filter.Geometry with
    {
        IsReadOnly = false,
        RequestAlignmentBytes =
            Math.Max(point.Filter.Geometry.RequestAlignmentBytes, point.Temp.Geometry.RequestAlignmentBytes),
    };

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        GranuleRun run = Cover(offsetBytes, buffer.Length, "read");
        CheckReadable(run);
        long endBytes = offsetBytes + buffer.Length;
        try
        {
            for (long atBytes = offsetBytes; atBytes < endBytes;)
            {
                GranuleRun rest = run with { Start = point.Granules.IndexOf(atBytes) };
                using Piece piece = NextPiece(rest);
                int lengthBytes = (int)(Math.Min(endBytes, point.Granules.EndBytes(piece.Run.End)) - atBytes);
                Memory<byte> target = buffer.Slice((int)(atBytes - offsetBytes), lengthBytes);
                await piece.Source.ReadAsync(atBytes, target, cancellationToken).ConfigureAwait(false);
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
        GranuleRun readable = run with { End = point.Refused.FirstIn(behind) };
        BlockStatusRun status;
        using (Piece piece = NextPiece(readable))
        {
            long endBytes = Math.Min(offsetBytes + lengthBytes, point.Granules.EndBytes(piece.Run.End));
            status = await piece.Source.GetStatusAsync(offsetBytes, endBytes - offsetBytes, cancellationToken)
                .ConfigureAwait(false);
        }

        Interlocked.MemoryBarrier();
        long readableEndBytes = point.Granules.EndBytes(point.Refused.FirstIn(behind));
        CheckReadable(first);
        return status with { LengthBytes = Math.Min(status.LengthBytes, readableEndBytes - offsetBytes) };
    }

    /// <inheritdoc/>
    /// <remarks>Rounds inward to whole granules (I7); a range that holds none succeeds and changes nothing.</remarks>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, null, "discard");
        point.Condition.ThrowUnlessActive();
        GranuleRun run = point.Granules.Within(range);
        if (run.IsEmpty || !point.Consume(run))
        {
            return default;
        }

        // The access map is narrowed first: a read from temp that overlaps fails its second test instead of
        // returning bytes that are being freed.
        BlockRange bytes = point.Granules.Bytes(run);
        return point.Temp.DiscardAsync(bytes.OffsetBytes, bytes.LengthBytes, cancellationToken);
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

    private GranuleRun Cover(long offsetBytes, long lengthBytes, string operation)
    {
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, null, operation);
        return point.Granules.Cover(offsetBytes, lengthBytes);
    }

    private void CheckReadable(GranuleRun run)
    {
        point.Condition.ThrowUnlessActive();
        long refused = point.Refused.FirstIn(run);
        if (refused >= run.End)
        {
            return;
        }

        long offsetBytes = point.Granules.Bytes(new GranuleRun(refused, refused + 1)).OffsetBytes;
        if (point.IsDenied(refused))
        {
            throw new BlockException(
                BlockErrorKind.Denied,
                $"The snapshot does not include offset {offsetBytes}: the session was limited to other ranges when it " +
                "started. Get-FleeceSnapshotMap shows what can be read.",
                offsetBytes: offsetBytes,
                operation: "read");
        }

        throw new BlockException(
            BlockErrorKind.Consumed,
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
            head = head with { End = point.Done.FirstIn(head) };
            if (head.IsEmpty)
            {
                return new Piece(point.Temp, run with { End = point.Done.FirstNotIn(run) }, null, default);
            }

            FrozenReads.Ticket ticket = point.Frozen.Enter(head);

            // Second half of the handshake in FrozenReads: what was settled before the slot was visible goes to temp.
            long done = point.Done.FirstIn(head);
            if (done == head.Start)
            {
                point.Frozen.Exit(ticket);
                continue;
            }

            if (done < head.End)
            {
                head = head with { End = done };
                point.Frozen.Shrink(ticket, head);
            }

            return new Piece(point.Filter.Active, head, point.Frozen, ticket);
        }
    }

    private static BlockException WriteRefused(long offsetBytes, string operation) =>
        new(
            BlockErrorKind.ReadOnly,
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
