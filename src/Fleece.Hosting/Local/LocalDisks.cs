// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Hosting.Control;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece.Hosting.Local;

/// <summary>The disks of this process.</summary>
/// <param name="mounted">The disks.</param>
/// <param name="kept">The sessions that are kept over the end of the process.</param>
/// <param name="checkPlace">Refuses files of images by where they lie; null for none.</param>
internal sealed class LocalDisks(MountedDisks mounted, KeptSessions kept, Action<string>? checkPlace) : IDiskControl
{
    /// <inheritdoc/>
    /// <remarks>A disk that was to be served and can't be is not mounted.</remarks>
    public ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken) =>
        MountAsync(request, kept.Own, SessionHandling.Resume, beforeServed: null, cancellationToken);

    /// <summary>As <see cref="MountAsync(MountRequest, CancellationToken)"/>.</summary>
    /// <param name="request">How.</param>
    /// <param name="sessions">The folder of the sessions that go on; null for none.</param>
    /// <param name="handling">What becomes of them, where the request does not discard them.</param>
    /// <param name="beforeServed">Gets the disk before clients can reach it, and tells whether the loss of a journal is noted where it
    /// outlives the process: until it is, the new journal has it for the next opener. Null for nothing to note.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<DiskInfo> MountAsync(
        MountRequest request,
        SessionFolder? sessions,
        SessionHandling handling,
        Func<Disk, bool>? beforeServed,
        CancellationToken cancellationToken)
    {
        ImageOpenOptions options = OptionsOf(request) with { SettlesLoss = beforeServed is not null };
        bool isExport = NbdUri.IsUri(request.Address);
        if (!options.IsReadOnly && !isExport)
        {
            OwnedFiles.CheckWritable(request.Address);
        }

        Disk disk = await mounted.MountAsync(
            request.Address,
            request.Name,
            options,
            isExport ? TlsLoading.Client(request.Tls) : null,
            request.IsShared,
            sessions,
            request.DiscardsSessions ? SessionHandling.Discard : handling,
            cancellationToken).ConfigureAwait(false);
        try
        {
            if (!options.IsReadOnly && !isExport)
            {
                PartialNote.Forget(request.Address);
            }

            if (beforeServed?.Invoke(disk) ?? true)
            {
                disk.Storage.Journal.SettleLoss();
            }

            foreach (ListenRequest listener in request.Listeners)
            {
                ListenRequest asDisk = listener with { IsReadOnly = listener.IsReadOnly || disk.IsReadOnly };
                await LocalExports.PublishAsync(mounted, disk, asDisk, cancellationToken).ConfigureAwait(false);
            }
        }
        catch
        {
            await mounted.SuspendAsync(disk.Name).ConfigureAwait(false);
            throw;
        }

        return disk.Describe();
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken) =>
        new([.. mounted.All.Select(disk => disk.Describe())]);

    /// <inheritdoc/>
    public ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken) =>
        new(mounted.Find(disk).Describe());

    /// <inheritdoc/>
    public async ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken)
    {
        DiskInfo before = mounted.Find(disk).Describe();
        await mounted.DismountAsync(before.Name, isForced).ConfigureAwait(false);
        return before;
    }

    private ImageOpenOptions OptionsOf(MountRequest request) => new()
    {
        Format = request.Format,
        IsReadOnly = request.IsReadOnly || request.SnapshotName is not null,
        SnapshotName = request.SnapshotName,
        MetadataCacheBytes = request.MetadataCacheBytes,
        AllowsOutsideDataFile = request.AllowsOutsideDataFile,
        Untrusted = request.IsUntrusted ? UntrustedLimits.Default : null,
        CheckPlace = checkPlace,
    };
}
