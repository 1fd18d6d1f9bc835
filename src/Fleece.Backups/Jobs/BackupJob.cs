// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Retaining;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Nbd;

namespace Fleece.Backups.Jobs;

/// <summary>The nightly job: session, backup, bitmap and retention, so that whatever fails, the next night goes on.</summary>
/// <remarks>
/// <para>The bitmap counts from this backup only when the backup is one. A failure, or the end of the process, at any instant before
/// merges what was recorded since back into it, so the next backup holds that too.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>, then
/// <see cref="RetainAsync"/>. Ownership. It holds the repository and owns the session until it is disposed.</para>
/// </remarks>
internal sealed class BackupJob : IAsyncDisposable
{
    private const string KeepWaits =
        "-Keep takes nothing out in this run and goes on with the next one: until then, copy what is to stay of the other disk.";

    private readonly IFleeceable _disk;
    private readonly BackupJobOptions _options;
    private readonly RepositoryFolder _folder;
    private readonly List<string> _notes = [];
    private SessionOptions? _sessionOptions;
    private JobBitmap? _bitmap;
    private IFleeceSession? _session;
    private SnapshotCopy? _copy;
    private bool _mayRetain = true;

    private BackupJob(IFleeceable disk, BackupJobOptions options, RepositoryFolder folder)
    {
        _disk = disk;
        _options = options;
        _folder = folder;
    }

    /// <summary>What the user should hear though the backup succeeds; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>The repository.</summary>
    public RepositoryFolder Folder => _folder;

    /// <summary>Bytes to read, zeros included.</summary>
    public long SizeBytes { get; private set; }

    /// <summary>Bytes that have been read.</summary>
    public long ArrivedBytes => _copy?.ArrivedBytes ?? 0;

    /// <summary>The session that it reads; null before <see cref="Pin"/>.</summary>
    public ISnapshotSource? Session => _session;

    /// <summary>How the session of the job is to begin.</summary>
    public SessionOptions SessionOptions => _sessionOptions!;

    /// <summary>Takes the repository, pins the instant and makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskShared"/>, <see cref="BackupErrors.RepositoryBusy"/>,
    /// <see cref="BackupErrors.BackupParentMissing"/>,
    /// <see cref="DiskErrors.BitmapBusy"/>, or what else stands in the way. Nothing is left behind.</exception>
    public static async ValueTask<BackupJob> StartAsync(
        IFleeceable disk, BackupJobOptions options, CancellationToken cancellationToken = default)
    {
        BackupJob job = await PrepareAsync(disk, options, cancellationToken).ConfigureAwait(false);
        try
        {
            job.Pin(await disk.BeginSessionAsync(job.SessionOptions, cancellationToken).ConfigureAwait(false));
            await job.BeginCopyAsync(cancellationToken).ConfigureAwait(false);
            return job;
        }
        catch (BlockException e) when (job._folder.InterruptedNote is { } interrupted)
        {
            await job.DisposeAsync().ConfigureAwait(false);
            throw With(interrupted, e);
        }
        catch
        {
            await job.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Takes the repository and chooses the bitmap. <see cref="Pin"/> and <see cref="BeginCopyAsync"/> follow.</summary>
    /// <inheritdoc cref="StartAsync" path="/exception"/>
    public static async ValueTask<BackupJob> PrepareAsync(
        IFleeceable disk, BackupJobOptions options, CancellationToken cancellationToken)
    {
        BackupJob job = new(disk, options, RepositoryFolder.Take(options.RepositoryPath));
        try
        {
            await job.ChooseAsync(cancellationToken).ConfigureAwait(false);
            return job;
        }
        catch (BlockException e) when (job._folder.InterruptedNote is { } interrupted)
        {
            await job.DisposeAsync().ConfigureAwait(false);
            throw With(interrupted, e);
        }
        catch
        {
            await job.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Takes the session that was begun by <see cref="SessionOptions"/>; the job ends it.</summary>
    public void Pin(IFleeceSession session)
    {
        _session = session;
        SizeBytes = session.Identity?.Ranges?.Sum(range => range.LengthBytes) ?? session.SizeBytes;
    }

    /// <summary>Makes the partial file, and begins to read.</summary>
    /// <inheritdoc cref="StartAsync" path="/exception"/>
    public async ValueTask BeginCopyAsync(CancellationToken cancellationToken)
    {
        RepositoryTarget target =
            await RepositoryTarget.CreateAsync(_options, _session!, _folder, cancellationToken).ConfigureAwait(false);
        if (target.OtherSourceNote is { } note)
        {
            _mayRetain = false;
            _notes.Add(_options.Keep is null ? note : $"{note} {KeepWaits}");
        }

        SnapshotReadOptions reading = new() { DiscardConsumed = true, Order = _options.Order };
        _copy = await SnapshotCopy.StartAsync(_session!, target, reading).ConfigureAwait(false);
    }

    /// <inheritdoc cref="ISnapshotSource.TakeWarning"/>
    public string? TakeWarning() => _session?.TakeWarning();

    /// <inheritdoc cref="SnapshotCopy.StepAsync"/>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            return await _copy!.StepAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (IsLostSession(e))
        {
            throw NoBackup(e);
        }
    }

    /// <summary>Makes it a backup, and lets the bitmap count from it.</summary>
    /// <remarks>The disk is flushed first: storage that has lost writes says so then, and what was read of it is no backup.</remarks>
    public async ValueTask<Backup> CompleteAsync(CancellationToken cancellationToken = default)
    {
        Backup backup;
        try
        {
            await _disk.FlushAsync(cancellationToken).ConfigureAwait(false);
            backup = await _copy!.CompleteAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (IsLostSession(e))
        {
            throw NoBackup(e);
        }

        if (!await _session!.EndAsync(isSuccess: true).ConfigureAwait(false))
        {
            _mayRetain = false; // While the bitmap counts from an older backup, that one must stay.
            _notes.Add(
                $"The backup is good, but the session broke at its end, so the bitmap '{backup.Point!.Bitmap}' still counts from the " +
                "backup before: the next one will hold this one's changes again.");
        }

        return backup;
    }

    /// <summary>Takes the oldest backups out, if there are to be only so many. The new backup stays whatever happens here. Nothing goes in
    /// a run whose notes say that the backup may be of another disk: the old ones may be all that there is of theirs.</summary>
    /// <exception cref="BlockException">Why one can't be taken out; the next job tries again.</exception>
    public async ValueTask RetainAsync(CancellationToken cancellationToken = default)
    {
        if (_options.Keep is not { } keep || !_mayRetain)
        {
            return;
        }

        Retention retention = new(_folder);
        await retention.KeepAsync(keep, cancellationToken).ConfigureAwait(false);
        if (retention.Note is { } note)
        {
            _notes.Add(note);
        }
    }

    /// <summary>Ends the session, without success unless it was completed, and gives the repository free. Where nothing was read, a bitmap
    /// that the job has made goes.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_copy is not null)
            {
                await _copy.DisposeAsync().ConfigureAwait(false);
            }

            if (_session is not null)
            {
                _ = await _session.EndAsync(isSuccess: false).ConfigureAwait(false);
            }

            if (_copy is null && _bitmap is not null)
            {
                await _bitmap.TakeBackAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _folder.Dispose();
        }
    }

    // Nothing is wrong with the disk or the repository: another process, or the end of a server, took the snapshot from the job.
    private static bool IsLostSession(BlockException e) => e.Kind is BlockErrors.Stopped or BlockErrors.Closed or NbdErrors.ConnectionLost;

    // The partial files of a killed job are removed by now, and a job that does not begin has no other place for its notes.
    private static BlockException With(string note, BlockException failure) =>
        new(failure.Kind, $"{failure.Message} {note}", failure.Path, failure.OffsetBytes, failure.Operation, failure);

    private BlockException NoBackup(BlockException cause) => new(
        cause.Kind,
        (cause.Kind == BlockErrors.Stopped
            ? $"The session '{_session!.Id}' was stopped while this job read it, by Stop-FleeceSession or by the end of the process that " +
                "has the disk. No backup was made."
            : $"No backup was made: {cause.Message}") +
        " Run the job again: its backup has the changes that this one was to have.",
        cause.Path,
        cause.OffsetBytes,
        cause.Operation,
        cause);

    private async ValueTask ChooseAsync(CancellationToken cancellationToken)
    {
        if (_folder.InterruptedNote is { } interrupted)
        {
            _notes.Add(interrupted);
        }

        await FinishMergeAsync(cancellationToken).ConfigureAwait(false);
        Repository repository = _folder.Read();
        _ = repository.NextNumber; // Before a bitmap is cleared for a backup that has no number.
        if (repository.DescribeStrays() is { } strays)
        {
            _notes.Add(strays);
        }

        _bitmap = new JobBitmap(_disk, _folder, repository, _options, _notes);
        BitmapDescription? bitmap = await _bitmap.FindAsync(cancellationToken).ConfigureAwait(false);
        _sessionOptions = _options.Session with { Name = bitmap?.Name ?? _bitmap.SessionName, Bitmap = bitmap?.ExactName };
    }

    // A merge that can't be finished costs space; tonight's backup matters more.
    private async ValueTask FinishMergeAsync(CancellationToken cancellationToken)
    {
        try
        {
            await new Retention(_folder).FinishAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            _notes.Add($"A merge that an earlier job has begun could not be finished: {e.Message}");
        }
    }
}
