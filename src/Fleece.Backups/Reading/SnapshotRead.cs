// SPDX-License-Identifier: MIT
using System.Threading.Channels;
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Backups.Reading;

/// <summary>One pass over a snapshot: chunks in the order that was asked for, read ahead on threads of its own.</summary>
/// <remarks>
/// <para>Each worker takes the next chunk of the plan and a place in the queue at once, then reads it; so chunks leave in
/// the plan's order while several are read side by side. The queue's length bounds the memory: a full queue stops the workers.</para>
/// <para>Threading. <see cref="NextAsync"/> from one consumer at a time. Ownership. The consumer owns the chunks it got;
/// disposing the read abandons the others, which are not discarded from the snapshot (I8).</para>
/// </remarks>
internal sealed class SnapshotRead : IAsyncDisposable
{
    private const int QueuedChunks = 8;

    private readonly ISnapshotSource _source;
    private readonly SnapshotReadOptions _options;
    private readonly IChunkPlan _plan;
    private readonly ChunkBuffers _buffers;
    private readonly SemaphoreSlim _planLock = new(1, 1);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Channel<Task<SnapshotChunk>> _queue =
        Channel.CreateBounded<Task<SnapshotChunk>>(new BoundedChannelOptions(QueuedChunks) { SingleReader = true });

    private readonly Task[] _workers;
    private long _plannedDataBytes;
    private volatile bool _isPlanned;

    /// <summary>Starts reading ahead.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.OutOfRange"/>,
    /// <see cref="BlockErrors.InvalidRange"/> or <see cref="BlockErrors.InvalidArgument"/>.</exception>
    public SnapshotRead(ISnapshotSource source, SnapshotReadOptions options)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(options);
        _source = source;
        _options = options;
        _plan = options.Order == SnapshotReadOrder.Sequential
            ? new ChunkPlan(source, options)
            : new AtRiskPlan(source, source as IAtRiskSource ?? throw NoOrder(source.Id), options);
        _buffers = new ChunkBuffers(options.ChunkSizeBytes, QueuedChunks * 2);
        _workers = new Task[source.ReadsAtOnce];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = OwnThread.Start(WorkAsync, $"Fleece reads {source.Id}");
        }
    }

    /// <summary>What messages call the snapshot: "DISK/NAME" or a URI.</summary>
    public string SourceId => _source.Id;

    /// <summary>Size of the whole disk in bytes.</summary>
    public long DiskSizeBytes => _source.SizeBytes;

    internal ISnapshotSource Source => _source;

    /// <summary>The order of the chunks.</summary>
    internal SnapshotReadOrder Order => _options.Order;

    /// <summary>Bytes of all chunks with data, once <see cref="IsPlanned"/>.</summary>
    internal long PlannedDataBytes => Volatile.Read(ref _plannedDataBytes);

    /// <summary>True when the last chunk has been planned; false while reading, and for ever when it was cut short.</summary>
    internal bool IsPlanned => _isPlanned;

    /// <summary>The next chunk, or null at the end.</summary>
    /// <exception cref="BlockException">The snapshot's error; the read is over then.</exception>
    public async ValueTask<SnapshotChunk?> NextAsync(CancellationToken cancellationToken = default)
    {
        while (await _queue.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (_queue.Reader.TryPeek(out Task<SnapshotChunk>? reading))
            {
                // Taken from the queue only when it is there: a cancelled wait leaves it to be abandoned by disposal.
                SnapshotChunk chunk = await reading.WaitAsync(cancellationToken).ConfigureAwait(false);
                _queue.Reader.TryRead(out _);
                return chunk;
            }
        }

        return null;
    }

    /// <summary>Stops the workers and abandons chunks nobody took. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_workers).ConfigureAwait(false);
        while (_queue.Reader.TryRead(out Task<SnapshotChunk>? reading))
        {
            if (reading.IsCompletedSuccessfully)
            {
                (await reading.ConfigureAwait(false)).Abandon();
            }
            else
            {
                _ = reading.Exception;
            }
        }
    }

    /// <summary>The error of a snapshot that can't be read in the order of what is at risk.</summary>
    internal static BlockException NoOrder(string sourceId) => new(
        BlockErrors.InvalidArgument,
        $"'{sourceId}' can't be read with -Order {SnapshotReadOrder.AtRiskFirst}: only the process that has the disk mounted knows where " +
        "the guest writes. Leave -Order out, or read the session itself.");

    /// <summary>A consumer is finished with a range: it leaves the snapshot.</summary>
    internal void Confirm(BlockRange range)
    {
        try
        {
            ValueTask discard = _source.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes);
            if (!discard.IsCompletedSuccessfully)
            {
                _ = IgnoreEndOfSessionAsync(discard);
            }
        }
        catch (BlockException)
        {
            // The session has ended or broken: there is nothing left to free.
        }
    }

    // The snapshot's device counts the discard as in flight, so stopping the session waits for it.
    private static async Task IgnoreEndOfSessionAsync(ValueTask discard)
    {
        try
        {
            await discard.ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // As in Confirm.
        }
    }

    private async Task WorkAsync()
    {
        try
        {
            while (await TakeNextAsync().ConfigureAwait(false) is { } next)
            {
                await ReadAsync(next.Range, next.IsZero || next.Range.IsEmpty, next.Result).ConfigureAwait(false);
            }

            _queue.Writer.TryComplete();
        }
        catch (OperationCanceledException)
        {
            _queue.Writer.TryComplete();
        }
        catch (BlockException e)
        {
            _queue.Writer.TryComplete(e);
        }
    }

    private async ValueTask<Planned?> TakeNextAsync()
    {
        await _planLock.WaitAsync(_stopping.Token).ConfigureAwait(false);
        try
        {
            (BlockRange range, bool isZero) = await _plan.NextAsync(_stopping.Token).ConfigureAwait(false);
            if (range.IsEmpty && (_isPlanned || !IsOfNothing()))
            {
                _isPlanned = true;
                return null;
            }

            _isPlanned = range.IsEmpty;
            Planned next = new(range, isZero);
            while (!_queue.Writer.TryWrite(next.Result.Task))
            {
                if (!await _queue.Writer.WaitToWriteAsync(_stopping.Token).ConfigureAwait(false))
                {
                    return null;
                }
            }

            _plannedDataBytes += isZero ? 0 : range.LengthBytes;
            return next;
        }
        finally
        {
            _planLock.Release();
        }
    }

    // A disk on which nothing changed has a backup too, and the consumer must learn of it: by one chunk of no bytes.
    private bool IsOfNothing() => _source.Identity is { BaselineId: not null, Ranges.Count: 0 };

    private async ValueTask ReadAsync(BlockRange range, bool isZero, TaskCompletionSource<SnapshotChunk> result)
    {
        byte[]? data = null;
        try
        {
            if (!isZero)
            {
                data = _buffers.Rent((int)range.LengthBytes);
                await _source.Snapshot.ReadAsync(range.OffsetBytes, data, _stopping.Token).ConfigureAwait(false);
            }

            result.SetResult(new SnapshotChunk(this, range, data, _buffers, _options.DiscardConsumed));
        }
        catch (Exception e) when (e is BlockException or OperationCanceledException)
        {
            if (data is not null)
            {
                _buffers.Return(data);
            }

            result.SetException(e);
            throw;
        }
    }

    private sealed record Planned(BlockRange Range, bool IsZero)
    {
        public TaskCompletionSource<SnapshotChunk> Result { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
