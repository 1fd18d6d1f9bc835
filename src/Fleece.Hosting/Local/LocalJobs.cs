// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Local;

/// <summary>Jobs of other processes over the disks of this one, and over guests of this machine.</summary>
internal sealed class LocalJobs(LocalOwner owner, Action<string>? checkPlace) : IJobControl
{
    /// <inheritdoc/>
    public async ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        IFleeceable found = await FindAsync(disk, cancellationToken).ConfigureAwait(false);
        Guid mountId = (found as Disk)?.MountId ?? Guid.Empty;
        return new FleeceableDisk(found.Name, mountId, found.IsShared, found.IsReadOnly, found.BitmapsLast);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(
        DiskReference disk, CancellationToken cancellationToken) =>
        await (await FindAsync(disk, cancellationToken).ConfigureAwait(false))
            .ListBitmapsAsync(cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<BitmapDescription> CreateJobBitmapAsync(
        DiskReference disk, string name, CancellationToken cancellationToken) =>
        await (await FindAsync(disk, cancellationToken).ConfigureAwait(false))
            .CreateBitmapAsync(name, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<BitmapDescription> RestartJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        await (await FindAsync(disk, cancellationToken).ConfigureAwait(false))
            .RestartBitmapAsync(exactName, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<bool> RemoveJobBitmapAsync(DiskReference disk, string exactName, CancellationToken cancellationToken)
    {
        IFleeceable found = await FindAsync(disk, cancellationToken).ConfigureAwait(false);
        await found.RemoveBitmapAsync(exactName, cancellationToken).ConfigureAwait(false);
        return true;
    }

    /// <inheritdoc/>
    /// <remarks>It ends with the job, so it is not kept over the end of this process.</remarks>
    public async ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken) =>
        (await owner.OwnSessions.StartAsync(request, folder: null, cancellationToken).ConfigureAwait(false))[0];

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SessionInfo>> BeginJobSessionsAsync(
        IReadOnlyList<SessionRequest> requests, CancellationToken cancellationToken)
    {
        IFleeceableSet disks = await owner
            .FindFleeceablesAsync([.. requests.SelectMany(request => request.Disks)], cancellationToken).ConfigureAwait(false);
        SessionOptions[] options = [.. requests.Select(request =>
            LocalSessions.OptionsOf(request) with { Bitmap = request.Bitmap?.Name, CheckPlace = checkPlace })];
        IReadOnlyList<IFleeceSession> sessions = await disks.BeginSessionsAsync(options, cancellationToken).ConfigureAwait(false);
        return [.. sessions.Select(session => ((IRunningSession)session).Describe())];
    }

    /// <inheritdoc/>
    public ValueTask<bool> EndJobSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken) =>
        owner.Running.Find(session).EndAsync(isSuccess);

    /// <inheritdoc/>
    public async ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        await (await FindAsync(disk, cancellationToken).ConfigureAwait(false)).FlushAsync(cancellationToken).ConfigureAwait(false);

    private async ValueTask<IFleeceable> FindAsync(DiskReference disk, CancellationToken cancellationToken) =>
        (await owner.FindFleeceablesAsync([disk], cancellationToken).ConfigureAwait(false)).Disks[0];
}
