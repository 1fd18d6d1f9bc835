// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.Local;

/// <summary>The sessions of the disks of this process.</summary>
internal sealed class LocalSessions(MountedDisks mounted, Action<string>? checkPlace) : ISessionControl
{
    // Of one answer: about 64 KiB as text.
    private const int RunsAtOnce = 1024;

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request, CancellationToken cancellationToken)
    {
        if (request.Disks.Count == 0)
        {
            throw new BlockException(BlockErrors.InvalidArgument, "A session needs a disk, and none is named.");
        }

        Disk[] disks = [.. request.Disks.Select(mounted.Find)];
        SessionOptions options = OptionsOf(request) with
        {
            Bitmap = disks.Select(disk => request.Bitmap?.NameOn(disk)).LastOrDefault(),
            CheckPlace = checkPlace,
        };
        IReadOnlyList<Session> sessions = await Session.StartAsync(disks, options, cancellationToken).ConfigureAwait(false);
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
            Limits = new CopyLimits { Timeout = request.CopyTimeout, TempBytes = request.TempLimitBytes },
        };
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> ListSessionsAsync(CancellationToken cancellationToken) =>
        new([.. mounted.Sessions.Select(session => session.Describe())]);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> FindSessionAsync(SessionReference? session, CancellationToken cancellationToken) =>
        new(mounted.FindSession(session).Describe());

    /// <inheritdoc/>
    public ValueTask<string?> TakeSessionWarningAsync(SessionReference session, CancellationToken cancellationToken) =>
        new(mounted.FindSession(session).TakeWarning());

    /// <inheritdoc/>
    public async ValueTask<SessionInfo> StopSessionAsync(
        SessionReference session, bool isSuccess, CancellationToken cancellationToken)
    {
        Session found = mounted.FindSession(session);
        await found.StopAsync(isSuccess).ConfigureAwait(false);
        return found.Describe();
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SnapshotRun>> ListRunsAsync(
        SessionReference? session, long offsetBytes, CancellationToken cancellationToken)
    {
        Session found = mounted.FindSession(session);
        new BlockRange(offsetBytes, 0).CheckWithin(found.SizeBytes, found.Id, "query");
        SnapshotAccess access = session?.Consumer is { } consumer ? found.FindConsumer(consumer).Access : found.Point.Snapshot;
        List<SnapshotRun> runs = [];
        for (long atBytes = offsetBytes; atBytes < found.SizeBytes && runs.Count < RunsAtOnce;)
        {
            SnapshotRun run = access.GetRun(atBytes);
            runs.Add(run);
            atBytes += run.LengthBytes;
        }

        return new ValueTask<IReadOnlyList<SnapshotRun>>(runs);
    }

    /// <inheritdoc/>
    public async ValueTask<BlockRange> FindUnstoredAsync(
        SessionReference? session, BlockRange range, CancellationToken cancellationToken)
    {
        Session found = mounted.FindSession(session);
        ISnapshotSource[] views =
            [session?.Consumer is { } consumer ? found.FindConsumer(consumer) : found, .. found.Consumers];

        // The part that all of them could still read: a consumer refuses what it has confirmed.
        BlockRange unstored = range;
        for (int agreed = 0; agreed < views.Length && !unstored.IsEmpty;)
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
    public async ValueTask<SessionInfo> DiscardAsync(SessionReference? session, BlockRange range, CancellationToken cancellationToken)
    {
        Session found = mounted.FindSession(session);
        BlockDevice view = session?.Consumer is { } consumer ? found.FindConsumer(consumer).Snapshot : found.Snapshot;
        await view.DiscardAsync(range.OffsetBytes, range.LengthBytes, cancellationToken).ConfigureAwait(false);
        return found.Describe();
    }
}
