// SPDX-License-Identifier: MIT
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The requests of a job that fleeces a disk of a host.</summary>
internal sealed class RemoteJobs(HostClient client) : IJobControl
{
    private const string EndsWithLease =
        "A session that was begun ends without success when the client's lease is over; then the job can run again.";

    /// <inheritdoc/>
    public ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync<FleeceableDisk>(nameof(DescribeDiskAsync), new { disk }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<BitmapDescription>>(nameof(ListJobBitmapsAsync), new { disk }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateJobBitmapAsync(DiskReference disk, string name, CancellationToken cancellationToken) =>
        client.ChangeAsync<BitmapDescription>(nameof(CreateJobBitmapAsync), new { disk, name }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        client.ChangeAsync<BitmapDescription>(nameof(RestartJobBitmapAsync), new { disk, exactName }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<bool> RemoveJobBitmapAsync(DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        client.ChangeAsync<bool>(nameof(RemoveJobBitmapAsync), new { disk, exactName }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken) =>
        client.ChangeAsync<SessionInfo>(nameof(BeginJobSessionAsync), new { request }, cancellationToken, () => new(EndsWithLease));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> BeginJobSessionsAsync(
        IReadOnlyList<SessionRequest> requests, CancellationToken cancellationToken) =>
        client.ChangeAsync<IReadOnlyList<SessionInfo>>(
            nameof(BeginJobSessionsAsync), new { requests }, cancellationToken, () => new(EndsWithLease));

    /// <inheritdoc/>
    public ValueTask<bool> EndJobSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken) =>
        client.ChangeAsync<bool>(nameof(EndJobSessionAsync), new { session, isSuccess }, cancellationToken);

    /// <inheritdoc/>
    public async ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        _ = await client.ChangeAsync<object?>(nameof(FlushDiskAsync), new { disk }, cancellationToken).ConfigureAwait(false);
}
