// SPDX-License-Identifier: MIT
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece.Hosting.Control;

/// <summary>Requests of a job that fleeces a disk of a host.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IJobControl
{
    /// <summary>What a job must know of the disk.</summary>
    ValueTask<FleeceableDisk> DescribeDiskAsync(DiskReference disk, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceable.ListBitmapsAsync"/>
    ValueTask<IReadOnlyList<BitmapDescription>> ListJobBitmapsAsync(DiskReference disk, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceable.CreateBitmapAsync"/>
    ValueTask<BitmapDescription> CreateJobBitmapAsync(DiskReference disk, string name, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceable.RestartBitmapAsync"/>
    ValueTask<BitmapDescription> RestartJobBitmapAsync(DiskReference disk, string exactName, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceable.RemoveBitmapAsync"/>
    /// <returns>True.</returns>
    ValueTask<bool> RemoveJobBitmapAsync(DiskReference disk, string exactName, CancellationToken cancellationToken);

    /// <summary>Begins a session that lasts as long as the client's lease.</summary>
    ValueTask<SessionInfo> BeginJobSessionAsync(SessionRequest request, CancellationToken cancellationToken);

    /// <summary>Begins a session of each of several disks at one instant, which last as long as the client's lease.</summary>
    /// <param name="requests">One for each disk; those of a guest's devices are all of one guest.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The sessions, in the order of the requests.</returns>
    ValueTask<IReadOnlyList<SessionInfo>> BeginJobSessionsAsync(
        IReadOnlyList<SessionRequest> requests, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceSession.EndAsync"/>
    ValueTask<bool> EndJobSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken);

    /// <inheritdoc cref="Fleece.Disks.IFleeceable.FlushAsync"/>
    ValueTask FlushDiskAsync(DiskReference disk, CancellationToken cancellationToken);
}
