// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Retaining;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece.Backups.Jobs;

/// <summary>The nightly job: session, backup, bitmap and retention, so that whatever fails, the next night goes on.</summary>
/// <remarks>
/// <para>The bitmap counts from this backup only when the backup is one. A failure, or the end of the process, at any instant before
/// merges what was recorded since back into it, so the next backup holds that too.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>, then
/// <see cref="RetainAsync"/>. Ownership. It holds the repository and owns the session until it is disposed.</para>
/// </remarks>
public sealed class BackupJob : IAsyncDisposable
{
    private const string KeepWaits =
        "-Keep takes nothing out in this run and goes on with the next one: until then, copy what is to stay of the other disk.";

    private readonly BackupJobOptions _options;
    private readonly RepositoryFolder _folder;
    private readonly List<string> _notes = [];
    private Session? _session;
    private SnapshotRead? _read;
    private BackupWriter? _writer;
    private bool _isOtherSource;

    private BackupJob(BackupJobOptions options, RepositoryFolder folder)
    {
        _options = options;
        _folder = folder;
    }

    /// <summary>What the user should hear though the backup succeeds; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>The repository.</summary>
    internal RepositoryFolder Folder => _folder;

    /// <summary>Bytes to read, zeros included.</summary>
    public long SizeBytes { get; private set; }

    /// <summary>Bytes that have been read.</summary>
    public long ArrivedBytes => _writer?.ArrivedBytes ?? 0;

    /// <summary>Takes the repository, pins the instant and makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.DiskShared"/>, <see cref="BlockErrorKind.RepositoryBusy"/>,
    /// <see cref="BlockErrorKind.BackupParentMissing"/>,
    /// <see cref="BlockErrorKind.BitmapBusy"/>, or what else stands in the way. Nothing is left behind.</exception>
    public static async ValueTask<BackupJob> StartAsync(
        Disk disk, BackupJobOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        disk.CheckExclusive();
        BackupJob job = new(options, RepositoryFolder.Take(options.RepositoryPath));
        try
        {
            await job.BeginAsync(disk, cancellationToken).ConfigureAwait(false);
            return job;
        }
        catch
        {
            await job.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>What the session has to tell and nobody has been told yet, such as that temp is nearly full; null for nothing.</summary>
    public string? TakeWarning() => ((ISnapshotSource?)_session)?.TakeWarning();

    /// <summary>Backs up the next piece; false when there was none left.</summary>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        if (await _read!.NextAsync(cancellationToken).ConfigureAwait(false) is not { } chunk)
        {
            return false;
        }

        await _writer!.WriteAsync(chunk, cancellationToken).ConfigureAwait(false);
        return true;
    }

    /// <summary>Makes it a backup, and lets the bitmap count from it.</summary>
    /// <remarks>The disk is flushed first: storage that has lost writes says so then, and what was read of it is no backup.</remarks>
    public async ValueTask<Backup> CompleteAsync(CancellationToken cancellationToken = default)
    {
        await _session!.Disk.Device.FlushAsync(cancellationToken).ConfigureAwait(false);
        Backup backup = await _writer!.CompleteAsync(cancellationToken).ConfigureAwait(false);
        Bitmap? bitmap = _session.Bitmap;
        await _session.StopAsync(isSuccess: true).ConfigureAwait(false);
        if (bitmap is not null && bitmap.BaselineId != _session.InstantId)
        {
            _notes.Add(
                $"The backup is good, but the session broke at its end, so the bitmap '{bitmap.Name}' still counts from the backup " +
                "before: the next one will hold this one's changes again.");
        }

        return backup;
    }

    /// <summary>Takes the oldest backups out, if there are to be only so many. The new backup stays whatever happens here. Nothing goes in
    /// a run whose notes say that the backup may be of another disk: the old ones may be all that there is of theirs.</summary>
    /// <exception cref="BlockException">Why one can't be taken out; the next job tries again.</exception>
    public async ValueTask RetainAsync(CancellationToken cancellationToken = default)
    {
        // While the bitmap counts from an older backup, that one must stay.
        if (_options.Keep is not { } keep || _isOtherSource || (_session!.Bitmap is { } bitmap && bitmap.BaselineId != _session.InstantId))
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

    /// <summary>Ends the session, without success unless it was completed, and gives the repository free.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_read is not null)
            {
                await _read.DisposeAsync().ConfigureAwait(false);
            }

            if (_writer is not null)
            {
                await _writer.DisposeAsync().ConfigureAwait(false);
            }

            if (_session is not null)
            {
                await _session.StopAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _folder.Dispose();
        }
    }

    private async ValueTask BeginAsync(Disk disk, CancellationToken cancellationToken)
    {
        await FinishMergeAsync(cancellationToken).ConfigureAwait(false);
        Repository repository = _folder.Read();
        _ = repository.NextNumber; // Before a bitmap is cleared for a backup that has no number.
        if (repository.DescribeStrays() is { } strays)
        {
            _notes.Add(strays);
        }

        JobBitmap choice = new(disk, _folder, repository, _options, _notes);
        Bitmap? bitmap = await choice.FindAsync(cancellationToken).ConfigureAwait(false);
        SessionOptions options = _options.Session with { Name = bitmap?.Name ?? choice.SessionName, Bitmap = bitmap?.ExactName };
        _session = (await Session.StartAsync([disk], options, cancellationToken).ConfigureAwait(false))[0];
        ISnapshotSource source = _session;
        SizeBytes = source.Identity?.Ranges?.Sum(range => range.LengthBytes) ?? _session.SizeBytes;
        _writer = await BackupWriter
            .CreateAsync(
                new BackupOptions
                {
                    Path = _folder.Path,
                    IsRepository = true,
                    Repository = _folder,
                    Format = _options.Format,
                    Compression = _options.Compression,
                    MustVerify = _options.MustVerify,
                },
                source,
                cancellationToken)
            .ConfigureAwait(false);
        if (_writer.OtherSourceNote is { } note)
        {
            _isOtherSource = true;
            _notes.Add(_options.Keep is null ? note : $"{note} {KeepWaits}");
        }

        _read = new SnapshotRead(source, new SnapshotReadOptions { DiscardConsumed = true });
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
