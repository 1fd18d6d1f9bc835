// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.Control;
using Fleece.Hosting.Records;
using Fleece.Nbd;
using Fleece.Nbd.Client;

namespace Fleece.Hosting.Client;

/// <summary>A host as the owner of disks: requests go over its control socket, bytes over its private sockets.</summary>
/// <remarks>Ownership. It owns the connection; with it end the sessions of this process's jobs.</remarks>
internal sealed class HostOwner : IDiskOwner, IAsyncDisposable
{
    private readonly HostClient _client;
    private readonly RemoteJobs _jobs;

    /// <summary>Makes no connection yet.</summary>
    public HostOwner(HostAddress address)
    {
        _client = new HostClient(address);
        _jobs = new RemoteJobs(_client);
        Disks = new RemoteDisks(_client);
        Sessions = new RemoteSessions(_client);
        Bitmaps = new RemoteBitmaps(_client);
        Exports = new RemoteExports(_client);
        Guests = new RemoteGuests(_client);
        Metrics = new RemoteMetrics(_client);
    }

    /// <summary>The control socket.</summary>
    public string SocketPath => _client.SocketPath;

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
    public IMetricControl Metrics { get; }

    /// <summary>The host as it is now.</summary>
    public async ValueTask<HostInfo> GetInfoAsync(CancellationToken cancellationToken)
    {
        HostInfo info = await _client
            .AskAsync<HostInfo>(nameof(IHostControl.GetHostInfoAsync), new { }, cancellationToken).ConfigureAwait(false);
        HostLink link = await _client.ConnectAsync(cancellationToken).ConfigureAwait(false);
        return info with { SocketPath = SocketPath, IsThisProcess = false, ProtocolVersion = link.Welcome.ProtocolVersion };
    }

    /// <inheritdoc/>
    public async ValueTask<OpenedSnapshot> OpenSnapshotAsync(
        SessionReference? session, bool discards, CancellationToken cancellationToken)
    {
        HostSnapshot snapshot = await HostSnapshot.OpenAsync(_client, session, discards, cancellationToken).ConfigureAwait(false);
        return new OpenedSnapshot(snapshot, snapshot.DisposeAsync);
    }

    /// <inheritdoc/>
    public async ValueTask<OpenedDisk> OpenDiskAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        DiskChannel channel = await _client.AskAsync<DiskChannel>(
            nameof(IHostControl.OpenDiskChannelAsync), new { disk }, cancellationToken).ConfigureAwait(false);
        NbdNode node = await NbdNode
            .ConnectAsync(NbdUri.Parse(channel.Uri), HostChannel.Options, cancellationToken).ConfigureAwait(false);
        BlockDevice device = new(
            new HostNode(new BlockDevice(node, channel.Name), loss => ExplainAsync(disk with { Name = channel.Name }, loss)), channel.Name);
        IDisposable hold = _client.Hold();
        return new OpenedDisk(channel.Name, device, async () =>
        {
            await device.DisposeAsync().ConfigureAwait(false);
            hold.Dispose();
        });
    }

    /// <inheritdoc/>
    public async ValueTask<IFleeceableSet> FindFleeceablesAsync(
        IReadOnlyList<DiskReference> disks, CancellationToken cancellationToken)
    {
        List<HostFleeceable> found = [];
        foreach (DiskReference disk in disks)
        {
            FleeceableDisk described = await _jobs.DescribeDiskAsync(disk, cancellationToken).ConfigureAwait(false);
            found.Add(new HostFleeceable(_client, _jobs, disk, described));
        }

        return new HostFleeceables(_client, _jobs, found);
    }

    /// <summary>Connects, where no connection is open.</summary>
    /// <exception cref="BlockException">As <see cref="HostClient.ConnectAsync"/>.</exception>
    public async ValueTask ConnectAsync(CancellationToken cancellationToken) =>
        _ = await _client.ConnectAsync(cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _client.DisposeAsync();

    private ValueTask<BlockException> ExplainAsync(DiskReference disk, BlockException loss) => HostChannel.ExplainAsync(
        disk.Name, SocketPath, loss, Disks.FindDiskAsync(disk, CancellationToken.None), () => new(new BlockException(
            BlockErrors.Closed, $"'{disk.Name}' has been closed and takes no more requests.", disk.Name, cause: loss)));
}
