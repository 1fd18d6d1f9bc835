// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Fleece.Block.Files;
using Fleece.Disks.Names;
using Fleece.Nbd;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>What a session of one or several disks of one guest has put into its QEMU: temp nodes, filters, snapshots
/// and exports.</summary>
/// <remarks>
/// <para>All that can fail or take long is done before the guest stands still. A guest is stopped only where a bitmap limits a
/// snapshot, because no command stops that bitmap and inserts the filter at once, and for several disks; else QEMU completes the
/// disk's I/O by itself when the filter goes in.</para>
/// <para>Threading. One call at a time. Ownership. It owns the lock that says that the session lives; disposing gives it back and changes
/// nothing in QEMU.</para>
/// </remarks>
internal sealed class FleecingGraph : IDisposable
{
    private readonly Guid _instantId;
    private readonly IReadOnlyList<FleecingTemp> _temps;
    private readonly HashSet<int> _removed = [];

    private readonly string? _serverFolder;

    private FleecingGraph(
        Guid instantId,
        IReadOnlyList<FleecingTemp> temps,
        string? serverFolder,
        IReadOnlyList<FleecedDisk> disks,
        GuestInstant instant) =>
        (_instantId, _temps, _serverFolder, Disks, Instant) = (instantId, temps, serverFolder, disks, instant);

    /// <summary>The disks, in the order of the requests.</summary>
    public IReadOnlyList<FleecedDisk> Disks { get; }

    /// <summary>The instant.</summary>
    public GuestInstant Instant { get; }

    /// <summary>Puts all in.</summary>
    /// <param name="monitor">The guest. When this fails, its connection may be used up.</param>
    /// <param name="schema">What the QEMU can do.</param>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="requests">A request for each disk.</param>
    /// <param name="guard">Stands by while the guest is frozen or stopped.</param>
    /// <param name="options">What holds for all disks.</param>
    /// <param name="cancellationToken">Ends the attempt and undoes it.</param>
    /// <exception cref="Fleece.Block.BlockException"><see cref="QemuErrors.DeviceUnsuitable"/>, <see cref="QemuErrors.FeatureMissing"/>,
    /// <see cref="QemuErrors.PauseTooLong"/>, <see cref="QemuErrors.AgentFailed"/>, or the reason of a step. All is as it was then, or the
    /// message says what is left.</exception>
    public static async ValueTask<FleecingGraph> BuildAsync(
        QemuMonitor monitor,
        QmpSchema schema,
        Guid instantId,
        IReadOnlyList<FleecingRequest> requests,
        IInstantGuard guard,
        GraphOptions options,
        CancellationToken cancellationToken)
    {
        string session = NodeNames.SessionOf(instantId);
        FilterInsertion[] insertions =
            [.. requests.Select((request, index) => new FilterInsertion(monitor, schema, instantId, index, request))];
        await BuildUndo.CheckNameIsFreeAsync(monitor, session, cancellationToken).ConfigureAwait(false);
        QemuUser user = QemuUser.Of(monitor);
        List<FleecingTemp> temps = [];
        string? folder = null;
        try
        {
            foreach (FleecingRequest request in requests)
            {
                temps.Add(FleecingTemp.Create(request, session, temps.Count, user));
            }

            foreach (FilterInsertion insertion in insertions)
            {
                await insertion.AddTempAsync(temps[insertion.DiskIndex].Path, cancellationToken).ConfigureAwait(false);
            }

            if (options.ServerUri is { } others)
            {
                await OthersServer.CheckAsync(monitor, instantId, others, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                folder = await PrivateServer
                    .FindFolderAsync(monitor, instantId, temps[0].Folder, cancellationToken).ConfigureAwait(false);
                await PrivateServer.JoinAsync(monitor, instantId, folder, user, cancellationToken).ConfigureAwait(false);
            }

            NbdUri server = options.ServerUri ?? PrivateServer.UriOf(folder!);
            bool mustStandStill = requests.Count > 1 || requests.Any(request => request.LimitedBy is not null);
            GuestInstant instant = await GuestPause
                .RunAsync(
                    monitor,
                    instantId,
                    mustStandStill,
                    guard,
                    token => InsertAllAsync(monitor, insertions, token),
                    options.LongestPause,
                    cancellationToken)
                .ConfigureAwait(false);
            List<FleecedDisk> disks = [];
            foreach (FilterInsertion insertion in insertions)
            {
                // The socket's folder keeps others away; the name keeps a client of an earlier session from reading this one.
                string exportName = RandomName();
                await insertion.ExportAsync(exportName, cancellationToken).ConfigureAwait(false);
                disks.Add(new FleecedDisk(
                    insertion.Request.Disk,
                    insertion.DiskIndex,
                    temps[insertion.DiskIndex].Path,
                    server.WithExport(exportName),
                    insertion.ClusterSizeBytes));
            }

            return new FleecingGraph(instantId, temps, folder, disks, instant);
        }
        catch (Exception failure)
        {
            Exception reported = await BuildUndo.RunAsync(monitor, instantId, guard, temps, folder, failure).ConfigureAwait(false);
            if (reported != failure)
            {
                throw reported;
            }

            throw;
        }
    }

    /// <summary>A name for an export that no client knows yet.</summary>
    public static string RandomName() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    /// <summary>Takes a disk's part out again, and the rest of the session with its last disk. Idempotent, also over a QEMU that was
    /// restarted, a device that is gone, and a call before that failed half-way.</summary>
    /// <param name="monitor">The guest; null where its QEMU is gone, so that only files are left to remove.</param>
    /// <param name="diskIndex">The disk's number in the session.</param>
    /// <param name="bitmapActions">How the session's bitmaps end, for one transaction when the filter is out. They are left out
    /// where their node has no pending bitmap of the session: they took effect before.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask RemoveAsync(
        QemuMonitor? monitor, int diskIndex, IReadOnlyList<JsonObject> bitmapActions, CancellationToken cancellationToken)
    {
        if (monitor is not null)
        {
            bool isPending = await IsPendingAsync(monitor, bitmapActions, cancellationToken).ConfigureAwait(false);
            await new SessionRemoval(monitor, NodeNames.SessionOf(_instantId))
                .RunAsync(diskIndex, isPending ? bitmapActions : [], cancellationToken).ConfigureAwait(false);
        }

        FleecingTemp temp = _temps[diskIndex];
        FileNames.Delete(temp.Path);
        temp.Dispose();
        _ = _removed.Add(diskIndex);
        if (_removed.Count == Disks.Count)
        {
            PrivateServer.LeaveFolder(_serverFolder, NodeNames.SessionOf(_instantId));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (FleecingTemp temp in _temps)
        {
            temp.Dispose();
        }
    }

    // The node has another name after a restart of QEMU, where QEMU chose it; the actions have the name of now.
    private async ValueTask<bool> IsPendingAsync(
        QemuMonitor monitor, IReadOnlyList<JsonObject> bitmapActions, CancellationToken cancellationToken)
    {
        if (bitmapActions is not [{ } first, ..])
        {
            return false;
        }

        string? nodeName = (string?)first["data"]?["node"];
        return (await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
            .Where(node => node.Name == nodeName)
            .SelectMany(node => node.Bitmaps)
            .Any(bitmap => QemuBitmapName.Parse(bitmap.Name) is { IsPending: true, InstantId: { } id } &&
                NodeNames.SessionOf(id) == NodeNames.SessionOf(_instantId));
    }

    private static async ValueTask InsertAllAsync(
        QemuMonitor monitor, FilterInsertion[] insertions, CancellationToken cancellationToken)
    {
        JsonObject[] actions = [.. insertions.SelectMany(insertion => insertion.Request.AtInstant)];
        await monitor.RunTransactionAsync(actions, cancellationToken).ConfigureAwait(false);
        foreach (FilterInsertion insertion in insertions)
        {
            await insertion.InsertAsync(cancellationToken).ConfigureAwait(false);
        }
    }
}
