// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece.Backups.Tests.Jobs;

/// <summary>A disk whose bitmaps are shown as another kind of disk shows its own, and whose sessions may not begin.</summary>
internal sealed class AlteredDisk(IFleeceable disk) : IFleeceable
{
    public Func<IReadOnlyList<BitmapDescription>, IReadOnlyList<BitmapDescription>> Show { get; init; } = bitmaps => bitmaps;

    public bool RefusesSessions { get; init; }

    public string Name => disk.Name;

    public bool IsShared => disk.IsShared;

    public bool IsReadOnly => disk.IsReadOnly;

    public BitmapLifetime BitmapsLast => disk.BitmapsLast;

    public async ValueTask<IReadOnlyList<BitmapDescription>> ListBitmapsAsync(CancellationToken cancellationToken) =>
        Show(await disk.ListBitmapsAsync(cancellationToken));

    public ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        disk.CreateBitmapAsync(name, cancellationToken);

    public ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        disk.RestartBitmapAsync(exactName, cancellationToken);

    public ValueTask RemoveBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        disk.RemoveBitmapAsync(exactName, cancellationToken);

    public ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken) =>
        RefusesSessions
            ? throw new BlockException(BlockErrors.InUse, "The device is busy.")
            : disk.BeginSessionAsync(options, cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) => disk.FlushAsync(cancellationToken);
}
