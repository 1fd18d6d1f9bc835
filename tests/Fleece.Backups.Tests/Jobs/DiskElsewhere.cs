// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Exports;
using Fleece.Nbd;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Backups.Tests.Jobs;

/// <summary>A disk as another process sees it: its snapshots come over NBD, and all else by calls.</summary>
internal sealed class DiskElsewhere : IFleeceable, IAsyncDisposable
{
    private readonly PublishedExports _exports = new();
    private readonly IFleeceable _served;
    private readonly NbdUri _uri;

    private DiskElsewhere(IFleeceable served, NbdUri uri)
    {
        _served = served;
        _uri = uri;
    }

    public string Name => _served.Name;

    public bool IsShared => _served.IsShared;

    public bool IsReadOnly => _served.IsReadOnly;

    public BitmapLifetime BitmapsLast => _served.BitmapsLast;

    /// <summary>The node that has the bitmaps, as if a guest's QEMU served the disk; null for Fleece.</summary>
    public string? QemuNode { get; set; }

    public static async Task<DiskElsewhere> ServeAsync(Disk disk, string socketPath)
    {
        NbdUri uri = NbdUri.Parse($"nbd+unix:///{disk.Name}?socket={socketPath}");
        DiskElsewhere elsewhere = new(disk, uri);
        await elsewhere._exports.PublishAsync(disk, new ExportOptions { ListenUri = uri });
        return elsewhere;
    }

    public async ValueTask<IReadOnlyList<BitmapDescription>> ListBitmapsAsync(CancellationToken cancellationToken) =>
        [.. (await _served.ListBitmapsAsync(cancellationToken)).Select(bitmap => bitmap with { QemuNode = QemuNode })];

    public ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        _served.CreateBitmapAsync(name, cancellationToken);

    public ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        _served.RestartBitmapAsync(exactName, cancellationToken);

    public ValueTask RemoveBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        _served.RemoveBitmapAsync(exactName, cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) => _served.FlushAsync(cancellationToken);

    public async ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken)
    {
        IFleeceSession session = await _served.BeginSessionAsync(options, cancellationToken);
        return new SessionElsewhere(
            session,
            await RemoteSnapshot.ConnectAsync(
                _uri.WithExport(session.Id), new NbdNodeOptions(), mustConsume: true, cancellationToken));
    }

    public async ValueTask DisposeAsync() => await _exports.UnpublishAsync((Disk)_served);

    private sealed class SessionElsewhere(IFleeceSession served, RemoteSnapshot snapshot) : IFleeceSession
    {
        public string Id => snapshot.Id;

        public string Address => snapshot.Address;

        public string? Consumer => snapshot.Consumer;

        public long SizeBytes => snapshot.SizeBytes;

        public DateTimeOffset? Instant => snapshot.Instant;

        public SnapshotIdentity? Identity => snapshot.Identity;

        public int GranuleSizeBytes => snapshot.GranuleSizeBytes;

        public int ReadsAtOnce => snapshot.ReadsAtOnce;

        public BlockDevice Snapshot => snapshot.Snapshot;

        public string? TakeWarning() => served.TakeWarning();

        public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
            snapshot.FindReadableAsync(offsetBytes, endBytes, cancellationToken);

        public async ValueTask<bool> EndAsync(bool isSuccess)
        {
            await snapshot.DisposeAsync();
            return await served.EndAsync(isSuccess);
        }
    }
}
