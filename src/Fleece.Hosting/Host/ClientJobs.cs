// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Paths;

namespace Fleece.Hosting.Host;

/// <summary>Requests of a job that runs in the client.</summary>
internal sealed class ClientJobs(
    ConnectedClient client, MountedDisks mounted, IJobControl jobs, PathRules rules, Leases leases) : IJobControl
{
    /// <inheritdoc/>
    public ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync(token => jobs.DescribeDiskAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync(token => jobs.ListJobBitmapsAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateJobBitmapAsync(DiskReference disk, string name, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            $"make bitmap {name} of {disk}", (_, token) => jobs.CreateJobBitmapAsync(disk, name, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) => client.ChangeAsync(
            $"restart bitmap {exactName} of {disk}",
            (_, token) => leases.ExplainAsync(() => jobs.RestartJobBitmapAsync(disk, exactName, token), disk.Name, exactName),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken) => client.ChangeAsync(
        $"begin session of a job on {string.Join(", ", request.Disks)}",
        (lease, token) => BeginAsync(lease, request, token),
        cancellationToken);

    /// <inheritdoc/>
    public ValueTask<bool> EndJobSessionAsync(
        SessionReference session, bool isSuccess, CancellationToken cancellationToken) => client.ChangeAsync(
            $"end session {session} of a job {(isSuccess ? "with" : "without")} success",
            (_, token) => jobs.EndJobSessionAsync(session, isSuccess, token),
            cancellationToken);

    /// <inheritdoc/>
    public async ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        await client.AskAsync(
            async token =>
            {
                await jobs.FlushDiskAsync(disk, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    private async ValueTask<SessionInfo> BeginAsync(Lease lease, SessionRequest request, CancellationToken cancellationToken)
    {
        rules.Check(request);
        if (request.Disks.Count != 1)
        {
            throw new BlockException(BlockErrors.InvalidArgument, "A job begins a session on one disk at a time.");
        }

        string disk = request.Disks[0].Name;
        string[] names = [.. new[] { request.Bitmap?.Name, request.NextBitmap, request.Name ?? disk }.OfType<string>()];
        SessionInfo begun = await leases
            .ExplainAsync(() => jobs.BeginJobSessionAsync(request, cancellationToken), disk, names)
            .ConfigureAwait(false);
        Session session = mounted.FindSession(new SessionReference(begun.Id, begun.InstantId));
        if (lease.TryHold(session))
        {
            return begun;
        }

        await session.StopAsync(isSuccess: false).ConfigureAwait(false);
        throw new BlockException(
            BlockErrors.Stopped, $"The session '{begun.Id}' ended at once, because its client was gone for too long. Begin again.");
    }
}
