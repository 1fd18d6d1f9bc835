// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Threading.Channels;
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Disks;

namespace Fleece.Backups.Writing;

/// <summary>Stores the chunks of one snapshot in an image, behind the back of whoever sends them.</summary>
/// <remarks>
/// <para>The target (<see cref="IBackupTarget"/>) becomes a backup when all chunks of the read are stored and durable; an
/// interrupted one is never taken for one. Each chunk is disposed, and so confirmed, when its bytes are stored so that a kill of
/// the process leaves them; on a server, from a snapshot of another machine, and where a kill would take them, when they are durable
/// (I8); for a repository that alone would have them, when the backup has its name. When a backup fails after chunks were consumed,
/// what was written is the only copy of them and is kept; otherwise a file is deleted.</para>
/// <para>Where the target needs to know what it holds, chunks pass a <see cref="ContentRecorder"/> before they are stored.</para>
/// <para>Threading. <see cref="WriteAsync"/> from one producer at a time. Ownership. The writer owns every chunk it was
/// given, also when it throws; chunks it could not store are abandoned.</para>
/// </remarks>
internal sealed class BackupWriter : IAsyncDisposable
{
    // Keeps the writing threads fed while the reader works.
    private const int QueuedChunks = 4;

    private readonly ISnapshotSource _source;
    private readonly IBackupTarget _target;
    private readonly long _startedAt = Stopwatch.GetTimestamp();
    private readonly Dictionary<SnapshotRead, long> _arrivedDataBytes = [];
    private readonly Channel<SnapshotChunk> _queue =
        Channel.CreateBounded<SnapshotChunk>(new BoundedChannelOptions(QueuedChunks));

    private readonly WorkActivity _activity;
    private readonly CancellationTokenSource _stopping = new();
    private readonly bool _confirmsWhenDurable;
    private readonly UnflushedChunks _unflushed;
    private readonly UnnamedRanges? _unnamed;
    private readonly ContentRecorder? _content;
    private readonly Task[] _workers;
    private readonly Lock _consuming = new();
    private BlockException? _failure;
    private long _dataBytes;
    private long _zeroBytes;
    private long _chunkCount;
    private bool _hasConsumed;
    private int _losesInKill;
    private bool _isEnded;

    /// <summary>Begins a backup.</summary>
    /// <param name="source">The snapshot.</param>
    /// <param name="target">What it is written to. The writer owns it from here on.</param>
    public BackupWriter(ISnapshotSource source, IBackupTarget target)
    {
        _source = source;
        _target = target;
        TargetTraits traits = target.Traits;
        _activity = WorkActivity.Begin("fleece.backup", ("source", source.Id), ("destination", traits.Destination));
        _confirmsWhenDurable = traits.ConfirmsWhenDurable || source is RemoteSnapshot { OutlivesSystem: true };
        _unflushed = new UnflushedChunks(target.Image, Confirm);
        _unnamed = traits.ConfirmsWhenNamed ? new UnnamedRanges() : null;
        _workers = new Task[traits.WritesAtOnce];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = OwnThread.Start(StoreAsync, $"Fleece writes {traits.Destination}");
        }

        _content = traits.NeedsContent
            ? new ContentRecorder(
                $"Fleece digests {source.Id}", ContentRecorder.ThreadsFor(Environment.ProcessorCount), QueueAsync, _stopping.Token)
            : null;
    }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => _source.SizeBytes;

    /// <summary>Bytes that have arrived so far, zeros included.</summary>
    public long ArrivedBytes => _dataBytes + _zeroBytes;

    // Two reads of a session through a host have a connection each.
    private bool IsOfSameView(ISnapshotSource source) => source == _source ||
        (source.Identity is { IsLive: false } identity && identity.Id == _source.Identity?.Id &&
        source.Consumer == _source.Consumer);

    /// <summary>Queues a chunk; waits while the queue is full.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.ForeignChunk"/>, <see cref="BackupErrors.ChunkUsed"/>, or
    /// the failure of an earlier chunk.</exception>
    public async ValueTask WriteAsync(SnapshotChunk chunk, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(chunk);
        if (!chunk.TryTakeOver())
        {
            throw new BlockException(
                BackupErrors.ChunkUsed,
                $"The chunk of {chunk.LengthBytes} bytes was disposed, or sent to a backup, before it came into the backup " +
                $"of '{_source.Id}'; its bytes are gone. Read the snapshot again.",
                _target.Traits.Destination,
                chunk.OffsetBytes);
        }

        try
        {
            ThrowIfFailed();
            if (!IsOfSameView(chunk.Source.Source))
            {
                throw new BlockException(
                    BackupErrors.ForeignChunk,
                    $"A chunk of {Describe(chunk.Source.Source)} came into the backup of {Describe(_source)}. Send each session, " +
                    "and each of its consumers, to a backup of its own.",
                    _target.Traits.Destination,
                    chunk.OffsetBytes);
            }

            if (_target.Traits.NeedsOrder && chunk.Source.Order != SnapshotReadOrder.Sequential)
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"'{_target.Traits.Destination}' takes a disk from its start to its end, and '{_source.Id}' is read with -Order " +
                    $"{chunk.Source.Order}. Nothing was written. Leave -Order out, or name a file.",
                    _target.Traits.Destination);
            }

            long arrived = _arrivedDataBytes.GetValueOrDefault(chunk.Source);
            _arrivedDataBytes[chunk.Source] = arrived + (chunk.IsZero ? 0 : chunk.LengthBytes);
            _chunkCount++;
            _dataBytes += chunk.IsZero ? 0 : chunk.LengthBytes;
            _zeroBytes += chunk.IsZero ? chunk.LengthBytes : 0;
            if (chunk.IsZero && chunk.LengthBytes != 0)
            {
                _content?.AddZeroes(new BlockRange(chunk.OffsetBytes, chunk.LengthBytes));
            }

            if (chunk.LengthBytes == 0 || (chunk.IsZero && _target.Traits.ReadsAsZero))
            {
                Confirm(chunk);
                return;
            }

            ChannelWriter<SnapshotChunk> next = _content is null || chunk.IsZero ? _queue.Writer : _content.WriterFor(chunk);
            while (!next.TryWrite(chunk))
            {
                if (!await next.WaitToWriteAsync(cancellationToken).ConfigureAwait(false))
                {
                    ThrowIfFailed();
                }
            }
        }
        catch
        {
            chunk.EndTakenOver(isStored: false);
            throw;
        }
    }

    /// <summary>Stores what is queued, makes it durable and gives the file its name. Once cancelled it begins no more requests.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupIncomplete"/> when chunks are missing, or what
    /// storing failed with.</exception>
    public async ValueTask<Backup> CompleteAsync(CancellationToken cancellationToken = default)
    {
        using (cancellationToken.UnsafeRegister(static writer => ((BackupWriter)writer!).Stop(), this))
        {
            await EndThreadsAsync().ConfigureAwait(false);
        }

        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfFailed();
        CheckIsWhole();
        await _unflushed.FlushAsync(cancellationToken).ConfigureAwait(false);
        BackupPoint? point = await _target.CompleteAsync(_content?.Finish() ?? [], cancellationToken).ConfigureAwait(false);
        _isEnded = true;
        _unnamed?.Confirm();
        _content?.Dispose();
        _activity.Succeed();
        _activity.Dispose();
        return new Backup(
            _target.Traits.Destination,
            _target.Traits.Format,
            _source.Id,
            _source.Instant,
            _source.SizeBytes,
            _dataBytes,
            _zeroBytes,
            _chunkCount,
            Stopwatch.GetElapsedTime(_startedAt))
        {
            Point = point,
            IsVerified = _target.Traits.MustVerify,
        };
    }

    /// <summary>Ends a backup that was not completed. Idempotent.</summary>
    /// <returns>Nothing; <see cref="KeptAt"/> tells whether something was kept.</returns>
    public async ValueTask DisposeAsync()
    {
        if (_isEnded)
        {
            return;
        }

        _isEnded = true;
        using WorkActivity activity = _activity;
        Stop();
        await EndThreadsAsync().ConfigureAwait(false);
        _content?.Dispose();
        _unflushed.Abandon();
        KeptAt = await _target.AbandonAsync(_hasConsumed).ConfigureAwait(false);
    }

    /// <summary>Where consumed chunks of a backup that failed are kept; null when there are none.</summary>
    public string? KeptAt { get; private set; }

    private async Task EndThreadsAsync()
    {
        if (_content is not null)
        {
            _content.Close();
            await _content.Ended.ConfigureAwait(false);
        }

        _queue.Writer.TryComplete();
        await Task.WhenAll(_workers).ConfigureAwait(false);
    }

    // Called by the threads that digest. A queue that is closed has failed, and then a chunk is not stored.
    private async ValueTask QueueAsync(SnapshotChunk chunk)
    {
        while (!_queue.Writer.TryWrite(chunk))
        {
            if (!await _queue.Writer.WaitToWriteAsync().ConfigureAwait(false))
            {
                chunk.EndTakenOver(isStored: false);
                return;
            }
        }
    }

    private async Task StoreAsync()
    {
        await foreach (SnapshotChunk chunk in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            if (Volatile.Read(ref _failure) is not null)
            {
                chunk.EndTakenOver(isStored: false);
                continue;
            }

            try
            {
                if (chunk.IsZero)
                {
                    await _target.Image
                        .WriteZeroesAsync(chunk.OffsetBytes, chunk.LengthBytes, WriteFlags.None, _stopping.Token)
                        .ConfigureAwait(false);
                }
                else
                {
                    await SparseWrite
                        .WriteAsync(_target.Image, chunk.OffsetBytes, chunk.Data, _target.Traits.ReadsAsZero, _stopping.Token)
                        .ConfigureAwait(false);
                }
            }
            catch (Exception e) when (e is BlockException or OperationCanceledException)
            {
                chunk.EndTakenOver(isStored: false);
                if (e is BlockException failure)
                {
                    Fail(failure);
                }

                continue;
            }

            await StoredAsync(chunk).ConfigureAwait(false);
        }
    }

    private async ValueTask StoredAsync(SnapshotChunk chunk)
    {
        if (!chunk.Consumes || _unnamed is not null || (!_confirmsWhenDurable && _target.SurvivesKill))
        {
            Confirm(chunk);
            return;
        }

        try
        {
            await _unflushed.AddAsync(chunk, _stopping.Token).ConfigureAwait(false);
            if (!_confirmsWhenDurable && Interlocked.Exchange(ref _losesInKill, 1) == 0)
            {
                // A journal that was given up no longer has what was confirmed before.
                await _unflushed.FlushAsync(_stopping.Token).ConfigureAwait(false);
            }
        }
        catch (BlockException e)
        {
            Fail(e);
        }
        catch (OperationCanceledException)
        {
            // Chunks that are not durable are not confirmed. The cause of the end has been noted.
        }
    }

    private void Confirm(SnapshotChunk chunk)
    {
        if (chunk.Consumes && _unnamed is not null)
        {
            _unnamed.Add(chunk);
            return;
        }

        chunk.EndTakenOver(isStored: !chunk.Consumes || TryConsume());
    }

    private bool TryConsume()
    {
        if (Volatile.Read(ref _hasConsumed))
        {
            return true;
        }

        lock (_consuming)
        {
            try
            {
                if (!_hasConsumed)
                {
                    _target.BecomeOnlyCopy();
                    Volatile.Write(ref _hasConsumed, true);
                }

                return true;
            }
            catch (BlockException e)
            {
                Fail(e);
                return false;
            }
        }
    }

    private void Stop() => Fail(
        new BlockException(BackupErrors.BackupIncomplete, "The backup was ended before it was complete.", _target.Traits.Destination));

    // The first failure stays; the queue is closed so that a producer that waits for room learns of it. A chunk under way is given up
    // between two of its pieces: the request was given up, and slow storage would take its time for each.
    private void Fail(BlockException failure)
    {
        Interlocked.CompareExchange(ref _failure, failure, null);
        _content?.Close();
        _queue.Writer.TryComplete();
        _stopping.Cancel();
    }

    private void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is { } failure)
        {
            throw new BlockException(
                failure.Kind,
                $"The backup '{_target.Traits.Destination}' could not be written: {failure.Message}",
                _target.Traits.Destination,
                failure.OffsetBytes,
                "write",
                failure);
        }
    }

    private static string Describe(ISnapshotSource source) =>
        source.Consumer is { } consumer ? $"'{source.Id}' for '{consumer}'" : $"'{source.Id}'";

    private void CheckIsWhole()
    {
        foreach ((SnapshotRead read, long arrivedBytes) in _arrivedDataBytes)
        {
            if (!read.IsPlanned || arrivedBytes != read.PlannedDataBytes)
            {
                throw new BlockException(
                    BackupErrors.BackupIncomplete,
                    $"The backup '{_target.Traits.Destination}' was not made: only {arrivedBytes} bytes of data arrived, and the read of " +
                    $"'{_source.Id}' had more. Something between Read-FleeceSnapshot and Export-FleeceBackup " +
                    "stopped or dropped chunks.",
                    _target.Traits.Destination);
            }
        }
    }
}
