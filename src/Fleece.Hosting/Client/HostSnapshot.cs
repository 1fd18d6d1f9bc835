// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.Client;

/// <summary>The snapshot of a host's session, read over a private socket, and known as it is in the host's process.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. It owns its connections; the session goes on.</remarks>
internal sealed class HostSnapshot : ISnapshotSource, IAtRiskSource, IAsyncDisposable
{
    // A warning of temp comes in time for the reader to consume; each question is one short call.
    private static readonly TimeSpan WarningInterval = TimeSpan.FromSeconds(1);

    // A hint for the reader's next chunks; a fast reader plans several of them in that time.
    private static readonly TimeSpan HintLife = TimeSpan.FromMilliseconds(20);

    private readonly HostClient _client;
    private readonly SnapshotChannel _channel;
    private readonly RemoteSnapshot _remote;
    private readonly IDisposable _hold;
    private readonly Guid _hostId;
    private readonly CancellationTokenSource _closing = new();
    private Task _watching = Task.CompletedTask;
    private string? _untoldWarning;
    private IReadOnlyList<long> _atRisk = [];
    private long _atRiskAskedAt; // 0 before the first time.

    private HostSnapshot(HostClient client, Guid hostId, SnapshotChannel channel, RemoteSnapshot remote)
    {
        _hostId = hostId;
        _client = client;
        _channel = channel;
        _remote = remote;
        _hold = client.Hold();
        string name = channel.Consumer is null ? channel.Id : $"{channel.Id}/{channel.Consumer}";
        Snapshot = new BlockDevice(new HostNode(remote.Snapshot, ExplainAsync), name, BlockErrors.Stopped);
    }

    /// <inheritdoc/>
    public string Id => _channel.Id;

    /// <inheritdoc/>
    public string Address => _channel.Address;

    /// <inheritdoc/>
    public string? Consumer => _channel.Consumer;

    /// <inheritdoc/>
    public long SizeBytes => _remote.SizeBytes;

    /// <inheritdoc/>
    public DateTimeOffset? Instant => _remote.Instant;

    /// <inheritdoc/>
    public SnapshotIdentity? Identity => _remote.Identity;

    /// <inheritdoc/>
    /// <remarks>At least what an export discards at a time.</remarks>
    public int GranuleSizeBytes => Math.Max(_channel.GranuleSizeBytes, _remote.GranuleSizeBytes);

    /// <inheritdoc/>
    public int ReadsAtOnce => HostChannel.ReadsAtOnce;

    /// <inheritdoc/>
    public BlockDevice Snapshot { get; }

    /// <summary>The session, by its instant.</summary>
    private SessionReference Session => new(Id, Identity?.Id);

    /// <summary>Opens the snapshot of a session, or of one of its consumers.</summary>
    /// <exception cref="BlockException">The host's error, or as <see cref="RemoteSnapshot.ConnectAsync"/>.</exception>
    public static async ValueTask<HostSnapshot> OpenAsync(
        HostClient client, SessionReference? session, bool discards, CancellationToken cancellationToken)
    {
        SnapshotChannel channel = await client.AskAsync<SnapshotChannel>(
            nameof(IHostControl.OpenSnapshotChannelAsync), new { session, discards }, cancellationToken).ConfigureAwait(false);
        RemoteSnapshot remote = await RemoteSnapshot
            .ConnectAsync(NbdUri.Parse(channel.Uri), HostChannel.Options, discards, cancellationToken).ConfigureAwait(false);
        HostSnapshot snapshot;
        try
        {
            HostLink link = await client.ConnectAsync(cancellationToken).ConfigureAwait(false);
            snapshot = new HostSnapshot(client, link.Welcome.HostId, channel, remote);
        }
        catch
        {
            await remote.DisposeAsync().ConfigureAwait(false);
            throw;
        }

        if (!channel.HasTempLimit)
        {
            return snapshot;
        }

        try
        {
            await snapshot.AskForWarningAsync(cancellationToken).ConfigureAwait(false);
            snapshot._watching = snapshot.WatchTempAsync();
            return snapshot;
        }
        catch
        {
            await snapshot.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Those of the session alone, as in the host's process.</remarks>
    public string? TakeWarning() => Interlocked.Exchange(ref _untoldWarning, null);

    /// <inheritdoc/>
    public async ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken)
    {
        try
        {
            return await _remote.FindReadableAsync(offsetBytes, endBytes, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException loss) when (HostNode.IsLoss(loss))
        {
            throw await ExplainAsync(loss).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    /// <remarks>By one reader at a time.</remarks>
    public async ValueTask<IReadOnlyList<long>> FindAtRiskAsync(CancellationToken cancellationToken)
    {
        if (_atRiskAskedAt == 0 || Stopwatch.GetElapsedTime(_atRiskAskedAt) >= HintLife)
        {
            _atRisk = await new RemoteSessions(_client).FindAtRiskAsync(Session, cancellationToken).ConfigureAwait(false);
            _atRiskAskedAt = Stopwatch.GetTimestamp();
        }

        return _atRisk;
    }

    /// <summary>Closes the connections. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        await Snapshot.DisposeAsync().ConfigureAwait(false);
        _hold.Dispose();
    }

    private ValueTask<BlockException> ExplainAsync(BlockException loss) => HostChannel.ExplainAsync(
        Id,
        _client.SocketPath,
        loss,
        new RemoteSessions(_client).FindSessionAsync(Session, CancellationToken.None),
        () => ExplainEndAsync(loss));

    private async ValueTask<BlockException> ExplainEndAsync(BlockException loss)
    {
        HostLink link = await _client.ConnectAsync(CancellationToken.None).ConfigureAwait(false);
        return link.Welcome.HostId == _hostId
            ? new BlockException(
                BlockErrors.Stopped,
                $"The session '{Id}' was stopped, or its disk was dismounted, and its snapshot can't be read any more.",
                operation: "read",
                cause: loss)
            : new BlockException(
                NbdErrors.ConnectionLost,
                $"The Fleece host at '{_client.SocketPath}' ended and was started again, and the session '{Id}' did not come back: " +
                "sessions of jobs end with the host. Its snapshot can't be read any more.",
                operation: "read",
                cause: loss);
    }

    // Never fails: it is only about a warning.
    private async Task WatchTempAsync()
    {
        try
        {
            while (true)
            {
                await Task.Delay(WarningInterval, _closing.Token).ConfigureAwait(false);
                await AskForWarningAsync(_closing.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is BlockException or OperationCanceledException)
        {
            // The session has ended, or the reader is done.
        }
    }

    private async ValueTask AskForWarningAsync(CancellationToken cancellationToken)
    {
        if (await new RemoteSessions(_client).TakeSessionWarningAsync(Session, cancellationToken).ConfigureAwait(false) is { } warning)
        {
            Volatile.Write(ref _untoldWarning, warning);
        }
    }
}
