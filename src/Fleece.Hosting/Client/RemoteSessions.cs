// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The sessions of a host's disks.</summary>
internal sealed class RemoteSessions(HostClient client) : ISessionControl
{
    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request, CancellationToken cancellationToken)
    {
        CertificatePaths.Check(request.Tls);
        return await client.ChangeAsync<IReadOnlyList<SessionInfo>>(
            nameof(StartSessionsAsync), new { request }, cancellationToken, () => FindStartedAsync(request)).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> ListSessionsAsync(CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<SessionInfo>>(nameof(ListSessionsAsync), new { }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> FindSessionAsync(SessionReference? session, CancellationToken cancellationToken) =>
        client.AskAsync<SessionInfo>(nameof(FindSessionAsync), new { session }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<string?> TakeSessionWarningAsync(SessionReference session, CancellationToken cancellationToken) =>
        client.AskAsync<string?>(nameof(TakeSessionWarningAsync), new { session }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> StopSessionAsync(SessionReference session, bool isSuccess, CancellationToken cancellationToken) =>
        client.ChangeAsync<SessionInfo>(nameof(StopSessionAsync), new { session, isSuccess }, cancellationToken, async () =>
        {
            try
            {
                await FindSessionAsync(session, CancellationToken.None).ConfigureAwait(false);
                return $"It was not done: the session '{session}' is running.";
            }
            catch (BlockException e) when (HostChannel.IsGone(e))
            {
                return $"The session '{session}' has ended. Get-FleeceBitmap shows from which instant its bitmap counts.";
            }
        });

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SessionInfo>> ResumeSessionsAsync(
        SessionReference? session, string? statePath, CancellationToken cancellationToken)
    {
        await client.RequireAsync(HostProtocol.SessionsComeBack, "resume sessions", cancellationToken).ConfigureAwait(false);
        return await client.ChangeAsync<IReadOnlyList<SessionInfo>>(
            nameof(ResumeSessionsAsync),
            new { session, statePath },
            cancellationToken,
            () => new("Get-FleeceSession lists the sessions that run and those that are lost.")).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<SessionInfo> RemoveLostSessionAsync(SessionReference session, CancellationToken cancellationToken)
    {
        await client.RequireAsync(HostProtocol.SessionsComeBack, "remove lost sessions", cancellationToken).ConfigureAwait(false);
        return await client.ChangeAsync<SessionInfo>(
            nameof(RemoveLostSessionAsync),
            new { session },
            cancellationToken,
            () => new("Get-FleeceSession lists the session as long as something is kept of it.")).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SnapshotRun>> ListRunsAsync(
        SessionReference? session, long offsetBytes, CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<SnapshotRun>>(nameof(ListRunsAsync), new { session, offsetBytes }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindUnstoredAsync(
        SessionReference? session, BlockRange range, CancellationToken cancellationToken) =>
        client.AskAsync<BlockRange>(nameof(FindUnstoredAsync), new { session, range }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(SessionReference session, CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<long>>(nameof(FindAtRiskAsync), new { session }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> DiscardAsync(SessionReference? session, BlockRange range, CancellationToken cancellationToken) =>
        client.ChangeAsync<SessionInfo>(
            nameof(DiscardAsync),
            new { session, range },
            cancellationToken,
            () => new("It may have been done or not. Discarding the range again is no harm."));

    private async ValueTask<string> FindStartedAsync(SessionRequest request)
    {
        IReadOnlyList<SessionInfo> running = await ListSessionsAsync(CancellationToken.None).ConfigureAwait(false);
        string[] started =
        [
            .. running.Where(session => request.Disks.Any(disk =>
                (disk.MountId is { } mountId ? mountId == session.MountId : IsOf(disk, session.Disk)) &&
                Is(request.Name ?? session.Disk, session.Name))).Select(session => $"'{session.Id}'"),
        ];
        return started.Length == 0
            ? "It was not done: no such session is running."
            : $"It was done: {string.Join(", ", started)} is running.";
    }

    // A session of a guest's device names its disk GUEST.DEVICE, or DEVICE.
    private static bool IsOf(DiskReference disk, string name) => Is(disk.Name, name) ||
        (disk.QmpSocketPath is not null && name.EndsWith("." + disk.Name, StringComparison.OrdinalIgnoreCase));

    private static bool Is(string name, string other) => string.Equals(name, other, StringComparison.OrdinalIgnoreCase);
}
