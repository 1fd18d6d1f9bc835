// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Local;

/// <summary>This process as the owner of disks.</summary>
/// <param name="mounted">The disks, which the caller closes.</param>
/// <param name="checkPlace">Refuses files of images by where they lie; null for none.</param>
internal sealed class LocalOwner(MountedDisks mounted, Action<string>? checkPlace = null) : IDiskOwner
{
    /// <summary>The disks themselves.</summary>
    public MountedDisks Mounted => mounted;

    /// <inheritdoc/>
    public IDiskControl Disks { get; } = new LocalDisks(mounted, checkPlace);

    /// <inheritdoc/>
    public ISessionControl Sessions { get; } = new LocalSessions(mounted, checkPlace);

    /// <inheritdoc/>
    public IBitmapControl Bitmaps { get; } = new LocalBitmaps(mounted);

    /// <inheritdoc/>
    public IExportControl Exports { get; } = new LocalExports(mounted);

    /// <inheritdoc/>
    public ValueTask<OpenedSnapshot> OpenSnapshotAsync(
        SessionReference? session, bool discards, CancellationToken cancellationToken) =>
        new(new OpenedSnapshot(mounted.FindSession(session).GetSource(session?.Consumer, discards)));

    /// <inheritdoc/>
    public ValueTask<OpenedDisk> OpenDiskAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        return new ValueTask<OpenedDisk>(new OpenedDisk(found.Name, found.Device));
    }

    /// <inheritdoc/>
    public ValueTask<IFleeceable> FindFleeceableAsync(DiskReference disk, CancellationToken cancellationToken) =>
        new(mounted.Find(disk));
}
