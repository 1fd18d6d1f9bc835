// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Local;

/// <summary>Jobs of other processes over the disks of this one.</summary>
internal sealed class LocalJobs(MountedDisks mounted, ISessionControl sessions) : IJobControl
{
    /// <inheritdoc/>
    public ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        return new ValueTask<FleeceableDisk>(new FleeceableDisk(
            found.Name, found.MountId, found.IsShared, found.IsReadOnly, found.BitmapsLast));
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        Find(disk).ListBitmapsAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateJobBitmapAsync(DiskReference disk, string name, CancellationToken cancellationToken) =>
        Find(disk).CreateBitmapAsync(name, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartJobBitmapAsync(
        DiskReference disk, string exactName, CancellationToken cancellationToken) =>
        Find(disk).RestartBitmapAsync(exactName, cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken) =>
        (await sessions.StartSessionsAsync(request, cancellationToken).ConfigureAwait(false))[0];

    /// <inheritdoc/>
    public ValueTask<bool> EndJobSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken) =>
        ((IFleeceSession)mounted.FindSession(session)).EndAsync(isSuccess);

    /// <inheritdoc/>
    public ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        Find(disk).FlushAsync(cancellationToken);

    // The members of the interface, which are not the disk's own.
#pragma warning disable CA1859
    private IFleeceable Find(DiskReference disk) => mounted.Find(disk);
}
