// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Fleece.Block.Buffers;
using Fleece.Block.CopyBeforeWrite.Pressure;

namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Stands in the guest's chain and copies old data to temp before the guest changes it.</summary>
/// <remarks>
/// <para>A write whose granules are settled costs two map tests and a look at the frozen reads, without a lock and without an
/// allocation (I4); the first one of a consumed granule is counted (<see cref="AvoidedCopies"/>). Otherwise, after a delay where temp fills
/// (<see cref="GuestDelay"/>), granule run by granule run: claim, read the old data, store it in temp, mark it done; then
/// wait for the snapshot reads that were already running on the active disk; then write (I2). Zeroes and
/// discards are writes here. Reads, flushes and status pass straight through: the guest's data never depends
/// on temp being durable (I9).</para>
/// <para>Copies do not obey the guest's cancellation: other requests may be waiting for them. Waiting does.</para>
/// <para>With a time limit the copy is done by another thread (<see cref="Copiers"/>), and the guest waits for it as for the copy of
/// another request. A guest that leaves has not written, so the copy that goes on without it still reads the instant's data, and
/// its granules are done when it ends.</para>
/// <para>Errors. <see cref="BlockErrors.CopyFailed"/>, <see cref="BlockErrors.CopyTimedOut"/>,
/// <see cref="BlockErrors.TempFull"/>, <see cref="BlockErrors.TempLimitReached"/> and <see cref="BlockErrors.SessionLogFull"/> under
/// <see cref="CopyErrorPolicy.BreakGuestWrite"/>; otherwise only what the active disk itself reports.</para>
/// <para>Ownership. Disposing the filter does nothing: it is a guest of the chain, not an owner.</para>
/// </remarks>
internal sealed class CopyBeforeWriteFilter : IBlockNode
{
    /// <summary>Most bytes copied through one buffer. Larger requests are copied in several steps.</summary>
    internal const int MaximumCopyBytes = 1024 * 1024;

    /// <summary>From this size on it pays to ask for zero runs before reading them.</summary>
    internal const int StatusThresholdBytes = 256 * 1024;

    private readonly PointInTime _point;
    private IBlockNode _active;

    internal CopyBeforeWriteFilter(PointInTime point, IBlockNode active)
    {
        _point = point;
        _active = active;
        Geometry = active.Geometry;
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <summary>
    /// The node below. With several sessions that is the filter of an earlier one; it is replaced, with the disk quiesced
    /// (R6), when that session stops. Snapshot reads that still run through the old one stay right: it passes reads on.
    /// </summary>
    public IBlockNode Active
    {
        get => Volatile.Read(ref _active);
        set => Volatile.Write(ref _active, value);
    }

    /// <inheritdoc/>
    public bool CanReadAhead => Active.CanReadAhead;

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => Active.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        Active.ReadAsync(offsetBytes, buffer, cancellationToken);

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        GranuleRun run = Cover(offsetBytes, data.Length, "write");
        return MayWrite(run)
            ? Active.WriteAsync(offsetBytes, data, flags, cancellationToken)
            : SettleAndWriteAsync(run, offsetBytes, data, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        await HoldAsync(Cover(offsetBytes, lengthBytes, "write zeros to"), cancellationToken).ConfigureAwait(false);
        await Active.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await HoldAsync(Cover(offsetBytes, lengthBytes, "discard"), cancellationToken).ConfigureAwait(false);
        await Active.DiscardAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => Active.FlushAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        Active.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;

    private GranuleRun Cover(long offsetBytes, long lengthBytes, string operation)
    {
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, null, operation);
        return _point.Granules.Cover(offsetBytes, lengthBytes);
    }

    // The order of the two tests matters: a read frozen before the granule was settled is seen by the second test because
    // its slot was written before (see FrozenReads); one that comes later finds the granule settled.
    private bool MayWrite(GranuleRun run)
    {
        if (_point.Condition.IsOver)
        {
            return true;
        }

        // Less than all that is settled: the first write of a consumed granule is to be counted.
        bool settled = _point.Avoided.FirstUnknown(run) >= run.End;
        return settled && !_point.Frozen.Overlap(run);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SettleAndWriteAsync(
        GranuleRun run, long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        await SettleNotedAsync(run, cancellationToken).ConfigureAwait(false);
        await Active.WriteAsync(offsetBytes, data, flags, cancellationToken).ConfigureAwait(false);
    }

    private ValueTask HoldAsync(GranuleRun run, CancellationToken cancellationToken) =>
        MayWrite(run) ? default : SettleNotedAsync(run, cancellationToken);

    /// <summary>As <see cref="SettleAsync"/>, and notes how long the guest was held up.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SettleNotedAsync(GranuleRun run, CancellationToken cancellationToken)
    {
        long startedAt = Stopwatch.GetTimestamp();
        try
        {
            await SettleAsync(run, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            BlockRange bytes = _point.Granules.Bytes(run);
            _point.Metrics.NoteGuestWait(startedAt, bytes.OffsetBytes, bytes.LengthBytes);
        }
    }

    /// <summary>Completes when the guest may change the run (I2).</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SettleAsync(GranuleRun run, CancellationToken cancellationToken)
    {
        TimeSpan delay = _point.Delay.At(_point.Budget.Fullness);
        if (delay > TimeSpan.Zero && !_point.Condition.IsOver && _point.FirstUnsettled(run) < run.End)
        {
            await _point.Delay.WaitAsync(delay, cancellationToken).ConfigureAwait(false);
        }

        GranuleRun rest = run;
        CopyDeadline? deadline = null;
        while (!_point.Condition.IsOver)
        {
            rest = rest with { Start = _point.FirstUnsettled(rest) };
            if (rest.IsEmpty)
            {
                if (_point.ConsumedBytes != 0 && _point.Avoided.Note(run))
                {
                    _point.Recent.Note(run.End);
                }

                ValueTask clear = _point.Frozen.WaitUntilClearAsync(run, cancellationToken);
                if (!clear.IsCompletedSuccessfully)
                {
                    long startedAt = Stopwatch.GetTimestamp();
                    await clear.ConfigureAwait(false);
                    _point.Metrics.NoteFrozenWait(startedAt);
                }

                return;
            }

            try
            {
                deadline ??= _point.BeginDeadline();
                await CopyHeadAsync(rest, deadline, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
            {
                _point.Metrics.NoteFailure(e);
                ApplyPolicy(rest, e);
            }
        }
    }

    /// <summary>Copies the first unsettled granules of a run, or waits for the request that is copying them.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask CopyHeadAsync(GranuleRun run, CopyDeadline? deadline, CancellationToken cancellationToken)
    {
        // Asked again behind the wish for room: the end of the session wakes those who had asked by then.
        if (deadline is not null && _point.Copiers.WhenRoom() is { } room && !_point.Condition.IsOver)
        {
            await WaitAsync(room, run, deadline, cancellationToken).ConfigureAwait(false);
            return;
        }

        long zeroEnd = 0;
        BlockRange bytes = _point.Granules.Bytes(run);
        if (bytes.LengthBytes >= StatusThresholdBytes)
        {
            // Whatever of this is still untouched when it is claimed held the same at the instant, so the answer stays true.
            BlockStatusRun status = await Active
                .GetStatusAsync(bytes.OffsetBytes, bytes.LengthBytes, CancellationToken.None).ConfigureAwait(false);
            zeroEnd = status.ReadsAsZero
                ? _point.Granules.Within(new BlockRange(bytes.OffsetBytes, status.LengthBytes)).End
                : 0;
        }

        (RunningCopies.Copy? copy, Task? ended) = _point.BeginCopy(
            run, zeroEnd, Math.Max(1, MaximumCopyBytes / _point.GranuleSizeBytes), waits: deadline is not null);
        bool isZero = copy?.Run.Start < zeroEnd;
        if (ended is null)
        {
            if (copy is not null)
            {
                await CopyAsync(copy, isZero).ConfigureAwait(false);
            }

            return;
        }

        if (copy is not null)
        {
            StartCopy(copy, isZero);
        }

        await WaitAsync(ended, run, deadline, cancellationToken).ConfigureAwait(false);
        if (copy?.Error is { } error)
        {
            ExceptionDispatchInfo.Throw(error);
        }
    }

    // By itself, so that only copies with a time limit pay for the delegate.
    private void StartCopy(RunningCopies.Copy copy, bool isZero) => _point.Copiers.Start(() => CopyAsync(copy, isZero));

    private async ValueTask WaitAsync(Task ended, GranuleRun run, CopyDeadline? deadline, CancellationToken cancellationToken)
    {
        if (deadline is null)
        {
            await Schedule.WaitAsync(ended, cancellationToken).ConfigureAwait(false);
        }
        else if (!await deadline.TryWaitAsync(ended, cancellationToken).ConfigureAwait(false))
        {
            long offsetBytes = _point.Granules.Bytes(run).OffsetBytes;
            throw new BlockException(
                BlockErrors.CopyTimedOut,
                $"Copying the old data at offset {offsetBytes} to temp timed out: it took longer than the {_point.CopyTimeout} of " +
                "-CopyTimeout.",
                offsetBytes: offsetBytes,
                operation: "copy");
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask CopyAsync(RunningCopies.Copy copy, bool isZero)
    {
        long startedAt = Stopwatch.GetTimestamp();
        bool hasData = false;
        try
        {
            BlockRange bytes = _point.Granules.Bytes(copy.Run);
            if (isZero)
            {
                await StoreZeroesAsync(bytes).ConfigureAwait(false);
            }
            else
            {
                hasData = await StoreDataAsync(copy, bytes).ConfigureAwait(false);
            }
        }
#pragma warning disable CA1031 // It is thrown again when the copy has ended.
        catch (Exception e)
#pragma warning restore CA1031
        {
            copy.Error = e;
        }

        bool hasConsumed = _point.FinishCopy(copy, hasData);
        if (copy.Error is null)
        {
            _point.Metrics.NoteCopy(startedAt);
        }

        if (hasConsumed)
        {
            await _point.Consumed.FreeAsync(copy.Run).ConfigureAwait(false);
        }

        if (copy.Error is { } error)
        {
            ExceptionDispatchInfo.Throw(error);
        }
    }

    /// <summary>Copies the range; false when all of it is zeros.</summary>
    private async ValueTask<bool> StoreDataAsync(RunningCopies.Copy copy, BlockRange bytes)
    {
        bool hasData = false;
        int pieceBytes = (int)Math.Min(bytes.LengthBytes, MaximumCopyBytes);
        PageBuffer buffer = PagePool.Shared.Rent(pieceBytes);
        try
        {
            for (long atBytes = bytes.OffsetBytes; atBytes < bytes.EndBytes;)
            {
                Memory<byte> piece = buffer.Memory[..(int)Math.Min(pieceBytes, bytes.EndBytes - atBytes)];
                copy.ReadingSince = _point.Limits.Time.GetTimestamp();
                await Active.ReadAsync(atBytes, piece, CancellationToken.None).ConfigureAwait(false);
                copy.ReadingSince = null;
                if (piece.Span.IndexOfAnyExcept((byte)0) < 0)
                {
                    await StoreZeroesAsync(new BlockRange(atBytes, piece.Length)).ConfigureAwait(false);
                }
                else
                {
                    // For all of the copy, so that none stops half-way and leaves something behind that nobody counts.
                    if (!hasData && !_point.Budget.TryReserve(copy, bytes.LengthBytes))
                    {
                        throw _point.Budget.Refuse(bytes, _point.Policy);
                    }

                    await _point.Temp.WriteAsync(atBytes, piece, _point.TempWriteFlags, CancellationToken.None)
                        .ConfigureAwait(false);
                    hasData = true;
                }

                atBytes += piece.Length;
            }
        }
        finally
        {
            PagePool.Shared.Return(buffer);
        }

        return hasData;
    }

    private ValueTask StoreZeroesAsync(BlockRange bytes) =>
        _point.TempReadsAsZero
            ? default
            : _point.Temp.WriteZeroesAsync(bytes.OffsetBytes, bytes.LengthBytes, _point.TempWriteFlags, CancellationToken.None);

    private void ApplyPolicy(GranuleRun run, Exception error)
    {
        if (_point.Condition.IsOver)
        {
            // Nothing has to be kept any more, so nobody is to lose for it (I6); the caller lets the write go on.
            return;
        }

        long offsetBytes = _point.Granules.Bytes(run).OffsetBytes;
        string? path = (error as BlockException)?.Path;
        BlockException cause = error as BlockException ??
            new BlockException(BlockErrors.IoFailed, error.Message, path, offsetBytes, "copy", error);

        // No policy has a guest pay for a defect of the session (R7).
        if (_point.Policy == CopyErrorPolicy.BreakSnapshot || cause.Kind == BlockErrors.InvariantBroken)
        {
            _point.Break(cause);
            return;
        }

        // Only temp is written to by a copy, and the log has its own kind. So no room means that temp is full: a guest can be stopped until
        // there is some.
        string kind = cause.Kind switch
        {
            BlockErrors.CopyTimedOut or BlockErrors.TempLimitReached or BlockErrors.SessionLogFull => cause.Kind,
            BlockErrors.NoSpace => BlockErrors.TempFull,
            _ => BlockErrors.CopyFailed,
        };
        string reason = kind == BlockErrors.TempFull ? $"temp is full. {cause.Message}" : cause.Message;
        throw new BlockException(
            kind,
            $"The write was refused because the old data at offset {offsetBytes} could not be kept for the session: " +
            $"{reason} The session is whole; stop it to let writes through, or start it with -OnCopyError BreakSnapshot.",
            path,
            offsetBytes,
            "copy",
            cause);
    }
}
