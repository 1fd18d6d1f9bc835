// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu.Agent;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guard;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Reading;

namespace Fleece.Qemu.Sessions;

/// <summary>Begins sessions of guests' disks and ends them.</summary>
/// <remarks>Threading. Safe from any thread.</remarks>
internal sealed class GuestSessions(QemuGuestsOptions owner)
{
    // The end of a session has no caller that could cancel it.
    private static readonly CancellationToken ToTheEnd = CancellationToken.None;

    /// <summary>The connections.</summary>
    public GuestMonitors Monitors { get; } = new();

    /// <summary>Those that run.</summary>
    public SessionList Running { get; } = new();

    /// <summary>Begins a session of each disk of a guest, all at one instant.</summary>
    /// <param name="qmpSocketPath">The monitor's socket.</param>
    /// <param name="devices">The devices, each once.</param>
    /// <param name="options">One for each device.</param>
    /// <param name="notes">What the user has to hear besides; whole sentences.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<IReadOnlyList<QemuSession>> BeginAsync(
        string qmpSocketPath,
        IReadOnlyList<string> devices,
        IReadOnlyList<SessionOptions> options,
        IReadOnlyList<string> notes,
        CancellationToken cancellationToken)
    {
        GuestMonitor guest = await Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        QemuMonitor monitor = guest.Commands;
        QmpSchema schema = await guest.QuerySchemaAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> found = await DeadSessions.RemoveAsync(monitor, isForced: false, cancellationToken).ConfigureAwait(false);
        GuestDisks disks = await GuestDisks.QueryAsync(monitor, cancellationToken).ConfigureAwait(false);
        SessionOptions.CheckTempOfEach(options);
        CheckAgent(qmpSocketPath, options[0].Quiesce);
        var instantId = Guid.NewGuid();
        List<QemuSessionPlan> plans = [];
        List<FleecingRequest> requests = [];
        foreach ((string device, SessionOptions asked) in devices.Zip(options))
        {
            SessionLimits.Check(asked, schema, monitor.Version);
            QemuDisk disk = disks.Find(device);
            QemuSessionPlan plan = Plan(qmpSocketPath, disk, SessionStory.InstantOf(instantId, plans.Count), asked);
            CheckNamedOnce(requests, disk);
            plans.Add(plan);
            requests.Add(RequestOf(disk, plan));
        }

        QuiesceOptions? quiesce = options[0].Quiesce is { } how
            ? how with { AgentSocketPath = how.AgentSocketPath ?? disks.AgentSocketPath }
            : null;
        IInstantGuard guard = await GuardAsync(qmpSocketPath, instantId, requests, quiesce, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable guarding = guard.ConfigureAwait(false);
        GraphOptions common = new() { ServerUri = options[0].NbdServerUri };
        FleecingGraph graph = await FleecingGraph
            .BuildAsync(monitor, schema, instantId, requests, guard, common, cancellationToken).ConfigureAwait(false);
        return await OpenAsync(monitor, graph, plans, WarningOf([.. notes, .. found]), cancellationToken).ConfigureAwait(false);
    }

    private QemuSessionPlan Plan(string qmpSocketPath, QemuDisk disk, Guid instantId, SessionOptions options)
    {
        string name = options.Name ?? disk.Name;
        Running.CheckPinned(qmpSocketPath, disk.Name, options.Bitmap);
        QemuBitmapTurn? turn = disk.Node is not { } node
            ? null
            : QemuBitmapTurn.Prepare(
                new GuestBitmaps(disk.Name, node, disk.HasPersistentBitmaps), instantId, options.Bitmap, options.NextBitmap);
        Running.CheckFree(qmpSocketPath, disk.Name, name);
        return new QemuSessionPlan(qmpSocketPath, disk.Name, name, instantId, turn, options);
    }

    private static void CheckAgent(string qmpSocketPath, QuiesceOptions? quiesce)
    {
        if (quiesce?.AgentSocketPath == qmpSocketPath)
        {
            throw AgentFailures.NotAnAgent(qmpSocketPath, "It is the QMP socket of the guest's QEMU.");
        }
    }

    private static void CheckNamedOnce(List<FleecingRequest> requests, QemuDisk disk)
    {
        if (requests.Exists(request => request.Disk == disk))
        {
            throw new BlockException(BlockErrors.InvalidArgument, $"The device '{disk.Device}' is named twice. Name each device once.");
        }
    }

    private static FleecingRequest RequestOf(QemuDisk disk, QemuSessionPlan plan) => new()
    {
        Disk = disk,
        TempPath = plan.Options.TempPath,
        OnCopyError = plan.Options.OnCopyError,
        CopyTimeout = plan.Options.Limits.Timeout,
        GranuleSizeBytes = plan.Options.GranuleSizeBytes,
        LimitedBy = plan.Turn?.LimitedBy,
        AtInstant = plan.Turn?.AtInstant ?? [],
    };

    // A guest that neither stands still nor is frozen needs no guard, whose start takes as long as that of a shell.
    private async ValueTask<IInstantGuard> GuardAsync(
        string qmpSocketPath,
        Guid instantId,
        List<FleecingRequest> requests,
        QuiesceOptions? quiesce,
        CancellationToken cancellationToken) =>
        quiesce is null && requests is [{ LimitedBy: null }]
            ? NoGuard.Instance
            : await GuestGuard
                .StartAsync(
                    owner.Guard(), new GuardTask(qmpSocketPath, NodeNames.SessionOf(instantId), quiesce), cancellationToken)
                .ConfigureAwait(false);

    private async ValueTask<IReadOnlyList<QemuSession>> OpenAsync(
        QemuMonitor monitor,
        FleecingGraph graph,
        List<QemuSessionPlan> plans,
        string? warning,
        CancellationToken cancellationToken)
    {
        List<QemuSnapshot> snapshots = [];
        List<QemuSession> sessions = [];
        try
        {
            foreach ((FleecedDisk disk, QemuSessionPlan plan) in graph.Disks.Zip(plans))
            {
                TempPlace.Check(disk.TempPath, plan.Options.CheckPlace, owner.CheckPlace);
                QemuSnapshotOptions how = new(
                    disk.SnapshotUri,
                    plan.Id,
                    disk.ClusterSizeBytes,
                    plan.Turn?.LimitedBy,
                    QemuReadRules.Of(monitor.Version),
                    plan.Options.OnCopyError);
                snapshots.Add(await QemuSnapshot.OpenAsync(how, cancellationToken).ConfigureAwait(false));
                sessions.Add(new QemuSession(
                    plan,
                    disk,
                    graph.Instant,
                    snapshots[^1],
                    sessions.Count == 0 ? warning : null,
                    (session, isSuccess) => EndAsync(session, graph, isSuccess)));
            }

            Running.Add(sessions);
            return sessions;
        }
        catch
        {
            foreach (QemuSnapshot snapshot in snapshots)
            {
                await snapshot.DisposeAsync().ConfigureAwait(false);
            }

            foreach ((FleecedDisk disk, QemuSessionPlan plan) in graph.Disks.Zip(plans))
            {
                await TakeOutAsync(monitor, graph, disk, plan.Turn, isSuccess: false).ConfigureAwait(false);
            }

            graph.Dispose();
            throw;
        }
    }

    private async ValueTask<bool> EndAsync(QemuSession session, FleecingGraph graph, bool isSuccess)
    {
        FleecedDisk disk = graph.Disks[session.DiskIndex];
        bool counts;
        try
        {
            GuestMonitor guest = await Monitors.ConnectAsync(session.QmpSocketPath, ToTheEnd).ConfigureAwait(false);
            await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
            counts = await TakeOutAsync(guest.Commands, graph, disk, session.Turn, isSuccess).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind is QemuErrors.QemuNotRunning or QemuErrors.QemuGone)
        {
            // What it had in memory is gone with it. Bitmaps that the image keeps are told from others when it runs again.
            await graph.RemoveAsync(null, disk.DiskIndex, [], ToTheEnd).ConfigureAwait(false);
            counts = session.Turn is null;
        }

        Running.Remove(session);
        return counts;
    }

    // Looks at the bitmaps as they are now: QEMU may have been started anew, and another process may have folded them meanwhile.
    private static async ValueTask<bool> TakeOutAsync(
        QemuMonitor monitor, FleecingGraph graph, FleecedDisk disk, QemuBitmapTurn? turn, bool isSuccess)
    {
        if (turn is null)
        {
            await graph.RemoveAsync(monitor, disk.DiskIndex, [], ToTheEnd).ConfigureAwait(false);
            return true;
        }

        QemuNodeReply? node = await FindNodeAsync(monitor, disk.Disk).ConfigureAwait(false);
        (IReadOnlyList<JsonObject> actions, bool counts) = turn.End(node, isSuccess);
        await graph.RemoveAsync(monitor, disk.DiskIndex, actions, ToTheEnd).ConfigureAwait(false);
        return counts;
    }

    // The node's name is another one where QEMU chose it and was started anew.
    private static async ValueTask<QemuNodeReply?> FindNodeAsync(QemuMonitor monitor, QemuDisk disk)
    {
        GuestDisks disks = await GuestDisks.QueryAsync(monitor, ToTheEnd).ConfigureAwait(false);
        return disks.Disks.FirstOrDefault(now => now.Device == disk.Device && now.Guest == disk.Guest)?.Node
            ?? (await monitor.QueryNodesAsync(ToTheEnd).ConfigureAwait(false)).FirstOrDefault(node => node.Name == disk.Node?.Name);
    }

    private static string? WarningOf(IReadOnlyList<string> sentences) => sentences.Count == 0 ? null : string.Join(' ', sentences);
}
