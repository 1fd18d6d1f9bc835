// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Hosting.Control;
using Fleece.Qemu;
using Fleece.Qemu.Guard;

namespace Fleece.Hosting.Local;

/// <summary>This process as the owner of disks.</summary>
/// <remarks>Ownership. It owns the sessions of guests, and not the disks.</remarks>
internal sealed class LocalOwner : IDiskOwner, IAsyncDisposable
{
    private readonly QuietInstant _quiet;

    /// <summary>Takes the disks.</summary>
    /// <param name="mounted">The disks, which the caller closes.</param>
    /// <param name="guard">The program that stands by while a guest is frozen or paused.</param>
    /// <param name="checkPlace">Refuses files of images by where they lie; null for none.</param>
    public LocalOwner(MountedDisks mounted, Func<GuardProgram> guard, Action<string>? checkPlace = null)
    {
        Mounted = mounted;
        QemuGuests = new QemuGuests(new QemuGuestsOptions { Guard = guard, CheckPlace = checkPlace });
        Running = new RunningSessions(mounted, QemuGuests);
        _quiet = new QuietInstant(guard);
        Disks = new LocalDisks(mounted, checkPlace);
        Sessions = new LocalSessions(mounted, QemuGuests, _quiet, checkPlace);
        Bitmaps = new LocalBitmaps(mounted);
        Exports = new LocalExports(mounted);
        Guests = new LocalGuests(QemuGuests);
    }

    /// <summary>The disks themselves.</summary>
    public MountedDisks Mounted { get; }

    /// <summary>The guests' sessions themselves.</summary>
    public QemuGuests QemuGuests { get; }

    /// <summary>The sessions of both.</summary>
    public RunningSessions Running { get; }

    /// <inheritdoc/>
    public IDiskControl Disks { get; }

    /// <inheritdoc/>
    public ISessionControl Sessions { get; }

    /// <inheritdoc/>
    public IBitmapControl Bitmaps { get; }

    /// <inheritdoc/>
    public IExportControl Exports { get; }

    /// <inheritdoc/>
    public IGuestControl Guests { get; }

    /// <inheritdoc/>
    public ValueTask<OpenedSnapshot> OpenSnapshotAsync(
        SessionReference? session, bool discards, CancellationToken cancellationToken) =>
        new(new OpenedSnapshot(Running.Find(session).GetSource(session?.Consumer, discards)));

    /// <inheritdoc/>
    public ValueTask<OpenedDisk> OpenDiskAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        Disk found = Mounted.Find(disk);
        return new ValueTask<OpenedDisk>(new OpenedDisk(found.Name, found.Device));
    }

    /// <inheritdoc/>
    public ValueTask<IFleeceableSet> FindFleeceablesAsync(IReadOnlyList<DiskReference> disks, CancellationToken cancellationToken) =>
        LocalGuests.GuestOf(disks) is { } qmpSocketPath
            ? QemuGuests.FindFleeceablesAsync(qmpSocketPath, [.. disks.Select(disk => disk.Name)], cancellationToken)
            : new ValueTask<IFleeceableSet>(new LocalFleeceables([.. disks.Select(Mounted.Find)], _quiet));

    /// <summary>Ends the sessions of guests, without success. Idempotent.</summary>
    public ValueTask DisposeAsync() => QemuGuests.DisposeAsync();
}
