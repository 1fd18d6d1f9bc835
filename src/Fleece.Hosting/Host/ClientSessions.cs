// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Paths;
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about sessions.</summary>
internal sealed class ClientSessions(ConnectedClient client, ISessionControl sessions, HostParts host) : ISessionControl
{
    /// <inheritdoc/>
    /// <remarks>The sessions are handed over: they go on when the client has gone.</remarks>
    public ValueTask<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction(
                "session.start",
                $"start session {request.Name ?? "named as its disk"} on {string.Join(", ", request.Disks.Select(disk => disk.Place))}",
                [.. request.Disks.Select(disk => disk.Place)]),
            (_, token) =>
            {
                host.Rules.Check(request);
                RefuseStatePath(request.StatePath);
                host.Guests.Note(request.Disks);
                return sessions.StartSessionsAsync(request, token);
            },
            cancellationToken);

    /// <inheritdoc/>
    /// <remarks>A client of an older version does not know of lost sessions, and could not read the list.</remarks>
    public async ValueTask<IReadOnlyList<SessionInfo>> ListSessionsAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<SessionInfo> all = await client.AskAsync(sessions.ListSessionsAsync, cancellationToken).ConfigureAwait(false);
        return client.ProtocolVersion >= HostProtocol.SessionsComeBack
            ? all
            : [.. all.Where(session => session.State != SessionState.Lost)];
    }

    /// <inheritdoc/>
    public ValueTask<SessionInfo> FindSessionAsync(SessionReference? session, CancellationToken cancellationToken) =>
        client.AskAsync(token => sessions.FindSessionAsync(session, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<string?> TakeSessionWarningAsync(SessionReference session, CancellationToken cancellationToken) =>
        client.AskAsync(token => sessions.TakeSessionWarningAsync(session, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> StopSessionAsync(
        SessionReference session, bool isSuccess, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction("session.stop", $"stop session {session} {(isSuccess ? "with" : "without")} success", session.Name),
            (_, token) => sessions.StopSessionAsync(session, isSuccess, token),
            ended => ActionResult.Ended(ended.BrokenBy),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SessionInfo>> ResumeSessionsAsync(
        SessionReference? session, string? statePath, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction(
                "session.resume",
                $"resume {(session is null ? "all sessions" : $"session {session}")}",
                session is null ? [] : [session.Name]),
            (_, token) =>
            {
                RefuseStatePath(statePath);
                return sessions.ResumeSessionsAsync(session, statePath: null, token);
            },
            resumed => ActionResult.Done with { Text = TellResumed(resumed) },
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<SessionInfo> RemoveLostSessionAsync(SessionReference session, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction("session.remove", $"remove lost session {session}", session.Name),
            (_, token) => sessions.RemoveLostSessionAsync(session, token),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SnapshotRun>> ListRunsAsync(
        SessionReference? session, long offsetBytes, CancellationToken cancellationToken) =>
        client.AskAsync(token => sessions.ListRunsAsync(session, offsetBytes, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindUnstoredAsync(
        SessionReference? session, BlockRange range, CancellationToken cancellationToken) =>
        client.AskAsync(token => sessions.FindUnstoredAsync(session, range, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(SessionReference session, CancellationToken cancellationToken) =>
        client.AskAsync(token => sessions.FindAtRiskAsync(session, token), cancellationToken);

    /// <inheritdoc/>
    /// <remarks>Of Clear-FleeceSnapshot: what a reader consumes comes over its private socket.</remarks>
    public ValueTask<SessionInfo> DiscardAsync(SessionReference? session, BlockRange range, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction(
                "snapshot.discard",
                FormattableString.Invariant($"discard {range.LengthBytes} bytes at {range.OffsetBytes} of snapshot {Named(session)}"),
                session is null ? [] : [session.Name]),
            (_, token) => sessions.DiscardAsync(session, range, token),
            cancellationToken);

    private static string Named(SessionReference? session) => session?.ToString() is { Length: not 0 } name ? name : "of the only session";

    private static string TellResumed(IReadOnlyList<SessionInfo> sessions) => sessions.Count == 0
        ? "no session is kept"
        : string.Join(" ", sessions.Select(session =>
            session.State != SessionState.Lost ? $"{session.Id} runs."
            : session.CanResume ? $"{session.Id} waits: {session.BrokenBy}"
            : $"{session.Id} is lost: {session.BrokenBy}"));

    private static void RefuseStatePath(string? path)
    {
        if (path is not null)
        {
            throw KeptSessions.NotOfHost(path);
        }
    }
}

/// <summary>A client's requests about guests that a QEMU runs.</summary>
internal sealed class ClientGuests(ConnectedClient client, IGuestControl guests, PathRules rules) : IGuestControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<QemuDiskInfo>> ListGuestDisksAsync(string qmpSocketPath, CancellationToken cancellationToken) =>
        client.AskAsync(
            token =>
            {
                rules.CheckSocket(qmpSocketPath);
                return guests.ListGuestDisksAsync(qmpSocketPath, token);
            },
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<string>> CleanUpGuestAsync(
        string qmpSocketPath, bool isForced, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction(
                "guest.clean", $"clean up the guest of {qmpSocketPath}{(isForced ? " by force" : string.Empty)}", qmpSocketPath),
            (_, token) =>
            {
                rules.CheckSocket(qmpSocketPath);
                return guests.CleanUpGuestAsync(qmpSocketPath, isForced, token);
            },
            cancellationToken);
}
