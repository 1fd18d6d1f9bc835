// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;

namespace Fleece.Hosting.Host;

/// <summary>Requests of a job that runs in the client.</summary>
internal sealed class ClientJobs(ConnectedClient client, LocalOwner owner, HostParts host) : IJobControl
{
    private readonly LocalJobs _jobs = new(owner, host.Rules.CheckPlace);

    /// <inheritdoc/>
    public ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        AskAsync(disk, token => _jobs.DescribeDiskAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        AskAsync(disk, token => _jobs.ListJobBitmapsAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateJobBitmapAsync(DiskReference disk, string name, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction("bitmap.make", $"make bitmap {name} of {disk.Place}", $"{disk.Place}/{name}"),
            (_, token) =>
            {
                host.Rules.Check(disk);
                return _jobs.CreateJobBitmapAsync(disk, name, token);
            },
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        ChangeBitmapAsync("restart", disk, exactName, token => _jobs.RestartJobBitmapAsync(disk, exactName, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<bool> RemoveJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        ChangeBitmapAsync("remove", disk, exactName, token => _jobs.RemoveJobBitmapAsync(disk, exactName, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken) => client.ChangeAsync(
        new AuditedAction("job.start", $"begin session of a job on {Places([request])}", Places([request])),
        async (lease, token) => (await BeginAsync(
            lease,
            [request],
            async () => [await _jobs.BeginJobSessionAsync(request, token).ConfigureAwait(false)]).ConfigureAwait(false))[0],
        cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> BeginJobSessionsAsync(
        IReadOnlyList<SessionRequest> requests, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction("job.start", $"begin sessions of a job on {Places(requests)}", Places(requests)),
            (lease, token) => BeginAsync(lease, requests, () => _jobs.BeginJobSessionsAsync(requests, token)),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<bool> EndJobSessionAsync(
        SessionReference session, bool isSuccess, CancellationToken cancellationToken)
    {
        IRunningSession? ended = null;
        return client.ChangeAsync(
            new AuditedAction("job.stop", $"end session {session} of a job {(isSuccess ? "with" : "without")} success", session.Name),
            (_, token) =>
            {
                ended = owner.Running.Find(session);
                return _jobs.EndJobSessionAsync(session, isSuccess, token);
            },
            _ => ActionResult.Ended(ended?.Describe().BrokenBy),
            cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken) => await AskAsync(
        disk,
        async token =>
        {
            await _jobs.FlushDiskAsync(disk, token).ConfigureAwait(false);
            return true;
        },
        cancellationToken).ConfigureAwait(false);

    private ValueTask<T> ChangeBitmapAsync<T>(
        string verb,
        DiskReference disk,
        string exactName,
        Func<CancellationToken, ValueTask<T>> change,
        CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction($"bitmap.{verb}", $"{verb} bitmap {exactName} of {disk.Place}", $"{disk.Place}/{exactName}"),
            (_, token) =>
            {
                host.Rules.Check(disk);
                return host.Leases.ExplainAsync(() => change(token), disk.Name, exactName);
            },
            cancellationToken);

    private static string Places(IEnumerable<SessionRequest> requests) =>
        string.Join(", ", requests.SelectMany(request => request.Disks).Select(disk => disk.Place));

    private ValueTask<T> AskAsync<T>(
        DiskReference disk, Func<CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken) => client.AskAsync(
            token =>
            {
                host.Rules.Check(disk);
                return request(token);
            },
            cancellationToken);

    private async ValueTask<IReadOnlyList<SessionInfo>> BeginAsync(
        Lease lease, IReadOnlyList<SessionRequest> requests, Func<ValueTask<IReadOnlyList<SessionInfo>>> begin)
    {
        foreach (SessionRequest request in requests)
        {
            host.Rules.Check(request);
            if (request.Disks.Count != 1)
            {
                throw new BlockException(BlockErrors.InvalidArgument, "A job describes each session by one disk.");
            }

            host.Guests.Note(request.Disks);
        }

        IReadOnlyList<SessionInfo> begun = await ExplainAsync(requests, begin).ConfigureAwait(false);
        IRunningSession[] sessions =
            [.. begun.Select(session => owner.Running.Find(new SessionReference(session.Id, session.InstantId)))];
        if (Array.TrueForAll(sessions, lease.TryHold))
        {
            return begun;
        }

        foreach (IRunningSession session in sessions)
        {
            _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
        }

        throw new BlockException(
            BlockErrors.Stopped,
            $"The session '{begun[0].Id}' ended at once, because its client was gone for too long. Begin again.");
    }

    private ValueTask<IReadOnlyList<SessionInfo>> ExplainAsync(
        IReadOnlyList<SessionRequest> requests, Func<ValueTask<IReadOnlyList<SessionInfo>>> begin)
    {
        if (requests is not [{ } request])
        {
            return begin();
        }

        string disk = request.Disks[0].Name;
        string[] names = [.. new[] { request.Bitmap?.Name, request.NextBitmap, request.Name ?? disk }.OfType<string>()];
        return host.Leases.ExplainAsync(begin, disk, names);
    }
}
