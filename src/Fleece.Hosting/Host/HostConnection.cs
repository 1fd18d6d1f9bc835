// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Records;
using Fleece.Hosting.Rpc;

namespace Fleece.Hosting.Host;

/// <summary>One connection to the control socket: Hello, the host itself, and the private socket of the client.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
/// <param name="host">What all connections share.</param>
/// <param name="peer">The process at the other end.</param>
/// <param name="refusal">Why Hello is refused whatever it says; null where its content decides.</param>
internal sealed class HostConnection(HostParts host, Peer peer, BlockException? refusal) : IHostControl
{
    private readonly ConnectedClient _client = new(peer, host.Requests, host.Log, host.Trail);
    private readonly TaskCompletionSource _welcomed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _hellos;

    /// <summary>Completes when Hello is answered with a welcome.</summary>
    public Task Welcomed => _welcomed.Task;

    /// <summary>The objects that answer the client's requests.</summary>
    public IReadOnlyList<RpcTarget> Targets()
    {
        LocalOwner owner = host.Disks.Owner;
        return
        [
            new RpcTarget(typeof(IHostControl), this),
            new RpcTarget(typeof(IDiskControl), new ClientDisks(_client, host.Disks, host.Access)),
            new RpcTarget(typeof(ISessionControl), new ClientSessions(_client, owner.Sessions, host)),
            new RpcTarget(typeof(IBitmapControl), new ClientBitmaps(_client, owner.Bitmaps, host.Leases)),
            new RpcTarget(typeof(IExportControl), new ClientExports(_client, host.Disks)),
            new RpcTarget(typeof(IGuestControl), new ClientGuests(_client, owner.Guests, host.Rules)),
            new RpcTarget(typeof(IMetricControl), new ClientMetrics(_client, owner.Metrics)),
            new RpcTarget(typeof(IJobControl), new ClientJobs(_client, owner, host)),
        ];
    }

    /// <summary>The connection has ended: what the client began goes on for as long as a lease does.</summary>
    /// <remarks>A Hello that is being answered meanwhile leaves nothing behind.</remarks>
    /// <returns>Completes when another lease that had to end for it has ended.</returns>
    public Task EndAsync()
    {
        if (_client.End() is not { } lease)
        {
            return Task.CompletedTask;
        }

        _client.Say("disconnected");
        return host.Leases.LeaveAsync(lease);
    }

    /// <inheritdoc/>
    public ValueTask<HostWelcome> HelloAsync(ClientHello hello, CancellationToken cancellationToken)
    {
        try
        {
            return new ValueTask<HostWelcome>(Welcome(hello));
        }
        catch (BlockException e)
        {
            _client.Say($"connection refused: {e.Message}");
            _client.Note(new AuditedAction("client.connect", "connect"), AuditOutcome.Refused, e);
            throw;
        }
    }

    /// <inheritdoc/>
    public ValueTask<HostInfo> GetHostInfoAsync(CancellationToken cancellationToken) =>
        _client.AskAsync(_ => new ValueTask<HostInfo>(host.Describe()), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SnapshotChannel> OpenSnapshotChannelAsync(
        SessionReference? session, bool discards, CancellationToken cancellationToken)
    {
        string? brokenBy = null;
        return _client.ChangeAsync(
            new AuditedAction(
                "snapshot.read",
                $"read snapshot {session?.ToString() ?? "of the only session"}" +
                (discards ? ", and discard what is consumed" : string.Empty),
                session is null ? [] : [session.Name]),
            async (lease, token) =>
            {
                // The owner refuses what it would refuse in its own process.
                OpenedSnapshot opened = await host.Disks.Owner.OpenSnapshotAsync(session, discards, token).ConfigureAwait(false);
                await using ConfiguredAsyncDisposable closing = opened.ConfigureAwait(false);
                IRunningSession found = host.Disks.Owner.Running.Find(session);
                SessionInfo info = found.Describe();
                brokenBy = info.BrokenBy;
                ISnapshotSource source = opened.Source;
                return new SnapshotChannel(
                    PrivateSocketOf(lease).Offer(found, source.Consumer, discards).ToString(),
                    found.Id,
                    source.Address,
                    source.Consumer,
                    found.GranuleSizeBytes,
                    info.TempLimitBytes is not null);
            },
            _ => ActionResult.Opened(brokenBy),
            cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<DiskChannel> OpenDiskChannelAsync(DiskReference disk, CancellationToken cancellationToken) => _client.ChangeAsync(
        new AuditedAction("disk.open", $"open disk {disk}{PurposeOf(disk)}", disk.Name),
        (lease, _) =>
        {
            Disk found = host.Disks.Owner.Mounted.Find(disk);
            return new ValueTask<DiskChannel>(new DiskChannel(PrivateSocketOf(lease).Offer(found).ToString(), found.Name));
        },
        cancellationToken);

    private HostWelcome Welcome(ClientHello hello)
    {
        if (Interlocked.Increment(ref _hellos) != 1)
        {
            throw new BlockException(BlockErrors.InvalidArgument, "The connection has begun with Hello already.");
        }

        if (refusal is not null)
        {
            throw refusal;
        }

        host.Access.Check(peer);
        int version = HostProtocol.Agree(hello.ProtocolVersion, hello.OldestProtocolVersion) ?? throw HostProtocol.Mismatch(
            host.SocketPath, (HostParts.ModuleVersion, HostProtocol.Version), (hello.ModuleVersion, hello.ProtocolVersion));
        Lease lease = host.Leases.Take(peer, hello.LeaseToken, out bool isResumed);
        if (!_client.TryWelcome(lease, version))
        {
            _ = host.Leases.LeaveAsync(lease);
            throw new BlockException(BlockErrors.Stopped, "The connection ended before its Hello was answered.");
        }

        _welcomed.TrySetResult();
        _client.Note(new AuditedAction("client.connect", "connect"), AuditOutcome.Done);
        _client.Say($"connected with version {hello.ModuleVersion}{(isResumed ? ", and took its lease up again" : string.Empty)}");
        return new HostWelcome(version, HostParts.ModuleVersion, lease.Token, isResumed, host.HostId);
    }

    // A client of an older version does not say it.
    private static string PurposeOf(DiskReference disk) => disk.IsToWrite switch
    {
        true => " for writing",
        false => " for reading",
        null => string.Empty,
    };

    private PrivateExports PrivateSocketOf(Lease lease) => lease.UsePrivate(host.PrivateSockets.Open);
}
