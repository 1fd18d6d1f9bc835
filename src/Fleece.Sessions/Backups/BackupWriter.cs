// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Threading.Channels;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Sessions.Reading;

namespace Fleece.Sessions.Backups;

/// <summary>Stores the chunks of one snapshot in an image, behind the back of whoever sends them.</summary>
/// <remarks>
/// <para>The image is written as "PATH.partial" and gets its name when all chunks of the read are stored and durable; an
/// interrupted backup is never taken for one. Each chunk is disposed, and so confirmed, when its bytes are stored
/// (I8). When a backup fails after chunks were consumed, the partial file holds the only copy of them and is kept; otherwise
/// it is deleted.</para>
/// <para>Threading. <see cref="WriteAsync"/> from one producer at a time. Ownership. The writer owns every chunk it was
/// given, also when it throws; chunks it could not store are abandoned.</para>
/// </remarks>
public sealed class BackupWriter : IAsyncDisposable
{
    // Two overlap one's system call with the other's; the queue keeps both fed while the reader works.
    private const int WorkerCount = 2;
    private const int QueuedChunks = 4;

    private readonly BackupOptions _options;
    private readonly ImageFormat _format;
    private readonly Session _session;
    private readonly string _partialPath;
    private readonly IBlockNode _image;
    private readonly long _startedAt = Stopwatch.GetTimestamp();
    private readonly Dictionary<SnapshotRead, long> _arrivedDataBytes = [];
    private readonly Channel<SnapshotChunk> _queue =
        Channel.CreateBounded<SnapshotChunk>(new BoundedChannelOptions(QueuedChunks) { SingleWriter = true });

    private readonly Task[] _workers;
    private BlockException? _failure;
    private long _dataBytes;
    private long _zeroBytes;
    private long _chunkCount;
    private bool _hasConsumed;
    private bool _isEnded;

    internal BackupWriter(BackupOptions options, ImageFormat format, Session session, string partialPath, IBlockNode image)
    {
        _options = options;
        _format = format;
        _session = session;
        _partialPath = partialPath;
        _image = image;
        _workers = new Task[WorkerCount];
        for (int i = 0; i < WorkerCount; i++)
        {
            _workers[i] = OwnThread.Start(StoreAsync, $"Fleece writes {options.Path}");
        }
    }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => _session.SizeBytes;

    /// <summary>Bytes that have arrived so far, zeros included.</summary>
    public long ArrivedBytes => _dataBytes + _zeroBytes;

    /// <summary>Makes the partial file for the snapshot that <paramref name="first"/> comes from.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/> or why the file can't be made.</exception>
    public static async ValueTask<BackupWriter> CreateAsync(
        BackupOptions options, SnapshotChunk first, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(first);
        CheckDestination(options);
        ImageFormat format = options.Format ?? Image.FormatForNewFile(options.Path);
        string partialPath = options.Path + ".partial";
        CheckNoPartial(partialPath);
        await Image.CreateAsync(partialPath, format, first.DiskSizeBytes, cancellationToken: cancellationToken)
            .ConfigureAwait(false);
        try
        {
            (IBlockNode image, _) = await Image.OpenAsync(partialPath, format, false, cancellationToken)
                .ConfigureAwait(false);
            return new BackupWriter(options, format, first.Source.Session, partialPath, image);
        }
        catch
        {
            FileNames.Delete(partialPath);
            throw;
        }
    }

    /// <summary>Refuses a folder, a file that must not be replaced, and a file that somebody has open.</summary>
    public static void CheckDestination(BackupOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (Directory.Exists(options.Path))
        {
            throw new BlockException(
                BlockErrorKind.NotAFile, $"'{options.Path}' is a folder; name the backup's file.", options.Path);
        }

        if (File.Exists(options.Path) && !options.Overwrite)
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{options.Path}' exists already. Name another file, or use -Force to replace it.",
                options.Path);
        }

        CheckNotInUse(options.Path);
    }

    /// <summary>Queues a chunk; waits while the queue is full.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ForeignChunk"/>, <see cref="BlockErrorKind.ChunkUsed"/>, or
    /// the failure of an earlier chunk.</exception>
    public async ValueTask WriteAsync(SnapshotChunk chunk, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(chunk);
        if (!chunk.TryTakeOver())
        {
            throw new BlockException(
                BlockErrorKind.ChunkUsed,
                $"The chunk of {chunk.LengthBytes} bytes was disposed, or sent to a backup, before it came into the backup " +
                $"of session '{_session.Id}'; its bytes are gone. Read the snapshot again.",
                _options.Path,
                chunk.OffsetBytes);
        }

        try
        {
            ThrowIfFailed();
            if (chunk.Source.Session != _session)
            {
                throw new BlockException(
                    BlockErrorKind.ForeignChunk,
                    $"A chunk of session '{chunk.Session}' came into the backup of session '{_session.Id}'. Send each " +
                    "session to a backup of its own.",
                    _options.Path,
                    chunk.OffsetBytes);
            }

            long arrived = _arrivedDataBytes.GetValueOrDefault(chunk.Source);
            _arrivedDataBytes[chunk.Source] = arrived + (chunk.IsZero ? 0 : chunk.LengthBytes);
            _chunkCount++;
            _dataBytes += chunk.IsZero ? 0 : chunk.LengthBytes;
            _zeroBytes += chunk.IsZero ? chunk.LengthBytes : 0;
            if (chunk.IsZero)
            {
                // A new image reads as zeros where nothing was written.
                Confirm(chunk);
                return;
            }

            while (!_queue.Writer.TryWrite(chunk))
            {
                if (!await _queue.Writer.WaitToWriteAsync(cancellationToken).ConfigureAwait(false))
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

    /// <summary>Stores what is queued, makes it durable and gives the file its name.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupIncomplete"/> when chunks are missing, or what
    /// storing failed with.</exception>
    public async ValueTask<Backup> CompleteAsync(CancellationToken cancellationToken = default)
    {
        _queue.Writer.TryComplete();
        await Task.WhenAll(_workers).ConfigureAwait(false);
        ThrowIfFailed();
        CheckIsWhole();
        await _image.FlushAsync(cancellationToken).ConfigureAwait(false);
        await _image.DisposeAsync().ConfigureAwait(false);
        CheckNotInUse(_options.Path);
        FileNames.Move(_partialPath, _options.Path, _options.Overwrite);
        _isEnded = true;
        return new Backup(
            _options.Path,
            _format,
            _session.Id,
            _session.StartedAt,
            _session.SizeBytes,
            _dataBytes,
            _zeroBytes,
            _chunkCount,
            Stopwatch.GetElapsedTime(_startedAt));
    }

    /// <summary>Ends a backup that was not completed. Idempotent.</summary>
    /// <returns>Nothing; <see cref="PartialPath"/> tells whether a file was kept.</returns>
    public async ValueTask DisposeAsync()
    {
        if (_isEnded)
        {
            return;
        }

        _isEnded = true;
        Fail(new BlockException(BlockErrorKind.BackupIncomplete, "The backup was ended before it was complete.", _options.Path));
        _queue.Writer.TryComplete();
        await Task.WhenAll(_workers).ConfigureAwait(false);
        await _image.DisposeAsync().ConfigureAwait(false);
        if (!_hasConsumed)
        {
            FileNames.Delete(_partialPath);
        }
    }

    /// <summary>The partial file that holds consumed chunks of a failed backup; null when there is none.</summary>
    public string? PartialPath => _hasConsumed && File.Exists(_partialPath) ? _partialPath : null;

    // A name can be taken from a file that is open, and its guest would go on writing to a disk that no name leads to any more.
    private static void CheckNotInUse(string path)
    {
        if (File.Exists(path))
        {
            LocalFile.Open(path, isReadOnly: false).Dispose();
        }
    }

    // It may hold the only copy of consumed chunks, so nobody but its owner deletes it, not even with Overwrite.
    private static void CheckNoPartial(string partialPath)
    {
        if (File.Exists(partialPath))
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{partialPath}' exists: another backup is being written there, or an earlier one failed and left what it had " +
                "consumed. Keep or delete that file, then try again.",
                partialPath);
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
                await _image.WriteAsync(chunk.OffsetBytes, chunk.Data, WriteFlags.None, CancellationToken.None)
                    .ConfigureAwait(false);
                Confirm(chunk);
            }
            catch (BlockException e)
            {
                chunk.EndTakenOver(isStored: false);
                Fail(e);
            }
        }
    }

    private void Confirm(SnapshotChunk chunk)
    {
        if (chunk.Consumes)
        {
            Volatile.Write(ref _hasConsumed, true);
        }

        chunk.EndTakenOver(isStored: true);
    }

    // The first failure stays; the queue is closed so that a producer that waits for room learns of it.
    private void Fail(BlockException failure)
    {
        Interlocked.CompareExchange(ref _failure, failure, null);
        _queue.Writer.TryComplete();
    }

    private void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is { } failure)
        {
            throw new BlockException(
                failure.Kind,
                $"The backup '{_options.Path}' could not be written: {failure.Message}",
                _options.Path,
                failure.OffsetBytes,
                "write",
                failure);
        }
    }

    private void CheckIsWhole()
    {
        foreach ((SnapshotRead read, long arrivedBytes) in _arrivedDataBytes)
        {
            if (!read.IsPlanned || arrivedBytes != read.PlannedDataBytes)
            {
                throw new BlockException(
                    BlockErrorKind.BackupIncomplete,
                    $"The backup '{_options.Path}' was not made: only {arrivedBytes} bytes of data arrived, and the read of " +
                    $"session '{_session.Id}' had more. Something between Read-FleeceSnapshot and Export-FleeceBackup " +
                    "stopped or dropped chunks.",
                    _options.Path);
            }
        }
    }
}
