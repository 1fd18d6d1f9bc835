// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Hosting.Control;
using Fleece.Nbd;
using Fleece.Qemu;

namespace Fleece.Hosting.Local;

/// <summary>The sessions of this process: of its own disks, and of guests' disks that QEMU serves.</summary>
internal sealed class LocalSessions(
    MountedDisks mounted, QemuGuests guests, KeptSessions kept, LocalDisks disks, QuietInstant quiet, Action<string>? checkPlace)
    : ISessionControl
{
    // Of one answer: about 64 KiB as text.
    private const int RunsAtOnce = 1024;

    private readonly RunningSessions _running = new(mounted, guests, kept);
    private readonly SessionResuming _resuming = new(mounted, kept, disks);

    /// <inheritdoc/>
    /// <remarks>A host keeps them in its own folder.</remarks>
    public ValueTask<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request, CancellationToken cancellationToken)
    {
        if (request.StatePath is { } path && LocalGuests.GuestOf(request.Disks) is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "A session of a guest's disk is QEMU's, and can't be kept for another process. Leave -StatePath out.",
                path);
        }

        return StartAsync(request, request.StatePath is { } statePath ? kept.Use(statePath) : kept.Own, cancellationToken);
    }

    /// <summary>As <see cref="StartSessionsAsync"/>.</summary>
    /// <param name="request">How.</param>
    /// <param name="folder">Where they are kept over the end of the process; null for nowhere.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<IReadOnlyList<SessionInfo>> StartAsync(
        SessionRequest request, SessionFolder? folder, CancellationToken cancellationToken)
    {
        string? qmpSocketPath = LocalGuests.GuestOf(request.Disks);
        SessionOptions options = OptionsOf(request) with { CheckPlace = checkPlace, Folder = folder };
        IReadOnlyList<IRunningSession> sessions;
        if (qmpSocketPath is not null)
        {
            string[] devices = [.. request.Disks.Select(disk => disk.Name)];
            sessions = await guests.StartSessionsAsync(
                qmpSocketPath, devices, options with { Bitmap = request.Bitmap?.Name }, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            Disk[] disks = [.. request.Disks.Select(mounted.Find)];
            options = options with { Bitmap = disks.Select(disk => request.Bitmap?.NameOn(disk)).LastOrDefault() };
            sessions = await quiet.BeginAsync(
                options.Quiesce, () => Session.StartAsync(disks, options, cancellationToken), cancellationToken).ConfigureAwait(false);
        }

        return [.. sessions.Select(session => session.Describe())];
    }

    /// <summary>The engine's options for a request, but for its bitmap.</summary>
    /// <exception cref="BlockException">BackupErrors.FileOfBackup: temp would be a backup; or why a certificate can't be read.</exception>
    public static SessionOptions OptionsOf(SessionRequest request)
    {
        if (request.TempPath is { } tempPath && !NbdUri.IsUri(tempPath))
        {
            OwnedFiles.CheckWritable(tempPath);
        }

        return new SessionOptions
        {
            Name = request.Name,
            Ranges = request.Ranges,
            NextBitmap = request.NextBitmap,
            Consumers = request.Consumers,
            TempPath = request.TempPath,
            Tls = TlsLoading.Client(request.Tls),
            GranuleSizeBytes = request.GranuleSizeBytes,
            OnCopyError = request.OnCopyError,
            Limits = new CopyLimits
            {
                Timeout = request.CopyTimeout,
                TempBytes = request.TempLimitBytes,
                TempWarningPercent = request.TempWarningPercent,
                MaxGuestDelay = request.MaxGuestDelay,
            },
            Quiesce = request.Quiesce,
            NbdServerUri = request.NbdServerUri is { } server ? NbdUri.Parse(server) : null,
        };
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> ListSessionsAsync(CancellationToken cancellationToken) =>
        new([.. _running.All.Select(session => session.Describe()), .. kept.Lost.Select(session => session.Describe())]);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> FindSessionAsync(SessionReference? session, CancellationToken cancellationToken)
    {
        LostSession? lost = session is null or { Name: "" } || _running.Has(session) ? null : kept.Find(session);
        return new ValueTask<SessionInfo>(lost?.Describe() ?? _running.Find(session).Describe());
    }

    /// <inheritdoc/>
    public ValueTask<string?> TakeSessionWarningAsync(SessionReference session, CancellationToken cancellationToken) =>
        new(_running.Find(session).TakeWarning());

    /// <inheritdoc/>
    public async ValueTask<SessionInfo> StopSessionAsync(
        SessionReference session, bool isSuccess, CancellationToken cancellationToken)
    {
        IRunningSession found = _running.Find(session);
        _ = await found.EndAsync(isSuccess).ConfigureAwait(false);
        return found.Describe();
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> ResumeSessionsAsync(
        SessionReference? session, string? statePath, CancellationToken cancellationToken) =>
        _resuming.ResumeAsync(session, statePath, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> RemoveLostSessionAsync(SessionReference session, CancellationToken cancellationToken)
    {
        LostSession lost = kept.Find(session) ??
            throw (_running.Has(session)
                ? RunningSessions.CameBack(session.Name)
                : RunningSessions.NoSuchSession(session.Name, kept.OnTheirWay));
        SessionInfo before = lost.Describe();
        string? left = lost.Discard();
        return new ValueTask<SessionInfo>(left is null ? before : before with { BrokenBy = left });
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SnapshotRun>> ListRunsAsync(
        SessionReference? session, long offsetBytes, CancellationToken cancellationToken)
    {
        IRunningSession found = _running.Find(session);
        new BlockRange(offsetBytes, 0).CheckWithin(found.SizeBytes, found.Id, "query");
        List<SnapshotRun> runs = [];
        for (long atBytes = offsetBytes; atBytes < found.SizeBytes && runs.Count < RunsAtOnce;)
        {
            SnapshotRun run = found.GetRun(session?.Consumer, atBytes);
            runs.Add(run);
            atBytes += run.LengthBytes;
        }

        return new ValueTask<IReadOnlyList<SnapshotRun>>(runs);
    }

    /// <inheritdoc/>
    public async ValueTask<BlockRange> FindUnstoredAsync(
        SessionReference? session, BlockRange range, CancellationToken cancellationToken)
    {
        IRunningSession found = _running.Find(session);
        IReadOnlyList<ISnapshotSource> views = found.GetViews(session?.Consumer);

        // The part that all of them could still read: a consumer refuses what it has confirmed.
        BlockRange unstored = range;
        for (int agreed = 0; agreed < views.Count && !unstored.IsEmpty;)
        {
            BlockRange readable = await views[agreed]
                .FindReadableAsync(unstored.OffsetBytes, unstored.EndBytes, cancellationToken).ConfigureAwait(false);
            bool isAtStart = readable.OffsetBytes == unstored.OffsetBytes && !readable.IsEmpty;
            unstored = isAtStart ? readable : BlockRange.FromEnds(readable.OffsetBytes, range.EndBytes);
            agreed = isAtStart ? agreed + 1 : 0;
        }

        return unstored;
    }

    /// <inheritdoc/>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: of a guest that QEMU runs.</exception>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(SessionReference session, CancellationToken cancellationToken)
    {
        IRunningSession found = _running.Find(session);
        return found is IAtRiskSource source ? source.FindAtRiskAsync(cancellationToken) : throw SnapshotRead.NoOrder(found.Id);
    }

    /// <inheritdoc/>
    public async ValueTask<SessionInfo> DiscardAsync(SessionReference? session, BlockRange range, CancellationToken cancellationToken)
    {
        IRunningSession found = _running.Find(session);
        ISnapshotSource view = session?.Consumer is { } consumer ? found.GetSource(consumer, discards: true) : found;
        await view.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes, cancellationToken).ConfigureAwait(false);
        return found.Describe();
    }
}
