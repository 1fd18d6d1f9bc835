// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Disks.Resuming;
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
    /// <param name="sessions">The folder of a host that keeps sessions over its end; null in a process that is no host.</param>
    public LocalOwner(
        MountedDisks mounted, Func<GuardProgram> guard, Action<string>? checkPlace = null, SessionFolder? sessions = null)
    {
        Mounted = mounted;
        Kept = new KeptSessions(sessions);
        QemuGuests = new QemuGuests(new QemuGuestsOptions { Guard = guard, CheckPlace = checkPlace });
        Running = new RunningSessions(mounted, QemuGuests, Kept);
        _quiet = new QuietInstant(guard);
        OwnDisks = new LocalDisks(mounted, Kept, checkPlace);
        OwnSessions = new LocalSessions(mounted, QemuGuests, Kept, OwnDisks, _quiet, checkPlace);
        Bitmaps = new LocalBitmaps(mounted);
        Exports = new LocalExports(mounted);
        Guests = new LocalGuests(QemuGuests);
        Metrics = new LocalMetrics(mounted);
    }

    /// <summary>The disks themselves.</summary>
    public MountedDisks Mounted { get; }

    /// <summary>The sessions that are kept over the end of the process.</summary>
    public KeptSessions Kept { get; }

    /// <summary>The guests' sessions themselves.</summary>
    public QemuGuests QemuGuests { get; }

    /// <summary>The sessions of both.</summary>
    public RunningSessions Running { get; }

    /// <summary>The requests about the disks.</summary>
    public LocalDisks OwnDisks { get; }

    /// <inheritdoc/>
    public IDiskControl Disks => OwnDisks;

    /// <summary>The requests about sessions.</summary>
    public LocalSessions OwnSessions { get; }

    /// <inheritdoc/>
    public ISessionControl Sessions => OwnSessions;

    /// <inheritdoc/>
    public IBitmapControl Bitmaps { get; }

    /// <inheritdoc/>
    public IExportControl Exports { get; }

    /// <inheritdoc/>
    public IGuestControl Guests { get; }

    /// <inheritdoc/>
    public IMetricControl Metrics { get; }

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
