// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Takes out of a QEMU what a session has put in, whatever part of it is there: it looks at the graph and goes by names.</summary>
/// <remarks>
/// Each step asks for the state right before it acts, because QEMU ends when a device is given the node that it has already (7.2 and
/// 10.0: "bdrv_replace_child_noperm: Assertion `old_bs != new_bs'"). So it serves the end of a session, the undo of one that failed to
/// start, and what a dead process left; and it can be run again after it failed half-way.
/// </remarks>
internal sealed class SessionRemoval(QemuMonitor monitor, string session)
{
    // QEMU drains a node before an export or a job of it ends; its storage decides how long that takes.
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(10);

    private readonly List<BlockException> _failures = [];

    /// <summary>Lets the guest run where the session has stopped it. Idempotent.</summary>
    public async ValueTask ResumeAsync(CancellationToken cancellationToken)
    {
        foreach (Part part in await PartsAsync(null, cancellationToken).ConfigureAwait(false))
        {
            if (part.Kind == Parts.Paused)
            {
                await GuestPause.ResumeAsync(monitor, part.Name, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Takes away the marker that says that the guest may be frozen. Idempotent.</summary>
    public async ValueTask ForgetFreezeAsync(CancellationToken cancellationToken)
    {
        foreach (Part part in (await PartsAsync(null, cancellationToken).ConfigureAwait(false)).Where(part => part.Kind == Parts.Frozen))
        {
            await monitor.DeleteNodeAsync(part.Name, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Takes out one disk's part, or all.</summary>
    /// <param name="diskIndex">The disk; null for all.</param>
    /// <param name="bitmapActions">For the transaction when no filter is in the way any more.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException">The first failure. All that could be done is done then, unless QEMU is gone.</exception>
    public async ValueTask RunAsync(int? diskIndex, IReadOnlyList<JsonObject> bitmapActions, CancellationToken cancellationToken)
    {
        _failures.Clear();
        IReadOnlyList<Part> parts = await PartsAsync(diskIndex, cancellationToken).ConfigureAwait(false);
        await TryAsync(() => EndExportsAsync(diskIndex, cancellationToken)).ConfigureAwait(false);
        await ForEachAsync(parts, Parts.Snapshot, part => monitor.DeleteNodeAsync(part.Name, cancellationToken)).ConfigureAwait(false);
        await ForEachAsync(parts, Parts.Filter, part => TakeOutAsync(part, cancellationToken)).ConfigureAwait(false);
        int failuresBefore = _failures.Count;
        await TryAsync(() => monitor.RunTransactionAsync(bitmapActions, cancellationToken)).ConfigureAwait(false);
        int bitmapFailures = _failures.Count - failuresBefore;

        // A job takes its filter with it.
        HashSet<string> left = [.. (await PartsAsync(diskIndex, cancellationToken).ConfigureAwait(false)).Select(part => part.Name)];
        Part[] filters = [.. parts.Where(part => left.Contains(part.Name))];
        await ForEachAsync(filters, Parts.Filter, part => monitor.DeleteNodeAsync(part.Name, cancellationToken)).ConfigureAwait(false);
        await EndServerAsync(diskIndex, cancellationToken).ConfigureAwait(false);

        // While it has its temp nodes, a session is found; a bitmap that can't end its turn is found without.
        if (_failures.Count == bitmapFailures)
        {
            await ForEachAsync(parts, Parts.Temp, part => DeleteTempAsync(part, cancellationToken)).ConfigureAwait(false);
        }

        if (_failures is [{ } first, ..])
        {
            throw first;
        }
    }

    /// <summary>Ends one disk's exports, or all, with their connections.</summary>
    public async ValueTask EndExportsAsync(int? diskIndex, CancellationToken cancellationToken)
    {
        HashSet<string> asked = [];
        await UntilNoneAsync(
            async () =>
            {
                QemuExportReply[] exports =
                [
                    .. from export in await monitor.QueryExportsAsync(cancellationToken).ConfigureAwait(false)
                       let part = Part.Of(export)
                       where part is not null && part.Session == session && (diskIndex is null || part.DiskIndex == diskIndex)
                       select export,
                ];
                asked.UnionWith(exports.Where(export => export.IsShuttingDown).Select(export => export.Id));
                return [.. exports.Select(export => export.Id)];
            },
            id => asked.Add(id) ? monitor.DeleteExportAsync(id, cancellationToken) : default,
            cancellationToken).ConfigureAwait(false);
    }

    // A refusal of one step must not keep the others from being done; a QEMU that is gone ends all.
    private async ValueTask TryAsync(Func<ValueTask> step)
    {
        try
        {
            await step().ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind is not (QemuErrors.QemuGone or QemuErrors.MonitorBusy or QemuErrors.NotQmp))
        {
            _failures.Add(e);
        }
    }

    private async ValueTask ForEachAsync(IReadOnlyList<Part> parts, string kind, Func<Part, ValueTask> step)
    {
        foreach (Part part in parts.Where(part => part.Kind == kind))
        {
            await TryAsync(() => step(part)).ConfigureAwait(false);
        }
    }

    private async ValueTask<IReadOnlyList<Part>> PartsAsync(int? diskIndex, CancellationToken cancellationToken) =>
    [
        .. from node in await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false)
           let part = Part.Of(node)
           where part is not null && part.Session == session && (diskIndex is null || part.DiskIndex == diskIndex)
           select part,
    ];

    private async ValueTask TakeOutAsync(Part filter, CancellationToken cancellationToken)
    {
        HashSet<string> asked = [];
        await UntilNoJobAsync(
            filter.Sibling(Parts.Job),
            id => asked.Add(id) ? monitor.CancelJobAsync(id, cancellationToken) : default,
            cancellationToken).ConfigureAwait(false);

        BlockEdges edges = await BlockEdges.QueryAsync(monitor, cancellationToken).ConfigureAwait(false);
        if (edges.FileOf(filter.Name) is { } below)
        {
            string jobId = filter.Sibling(Parts.Stream);
            await UntilNoJobAsync(jobId, _ => default, cancellationToken).ConfigureAwait(false);
            foreach (string overlay in edges.ParentsOf(filter.Name, "backing"))
            {
                await OverlayRebase.RunAsync(monitor, overlay, below, jobId, cancellationToken).ConfigureAwait(false);
                await UntilNoJobAsync(jobId, _ => default, cancellationToken).ConfigureAwait(false);
            }
        }

        foreach (QemuDeviceReply device in await monitor.QueryDevicesAsync(cancellationToken).ConfigureAwait(false))
        {
            if (device.NodeName == filter.Name && device.QomPath is { } qdev)
            {
                string root = edges.FileOf(filter.Name) ?? throw new BlockException(
                    QemuErrors.FeatureMissing,
                    $"The QEMU at '{monitor.SocketPath}' does not tell which node lies under '{filter.Name}', so the filter can't be " +
                    $"taken out. Give '{QomProperties.PathOf(qdev)}' its node back with QMP's qom-set, property \"drive\".",
                    monitor.SocketPath);
                await PutBackAsync(filter, qdev, root, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    // A device that is being unplugged is listed until QEMU has freed it, and its filter is in use until then, but it can't be found.
    private async ValueTask PutBackAsync(Part filter, string qdev, string root, CancellationToken cancellationToken)
    {
        for (long startedAt = Stopwatch.GetTimestamp(); ;)
        {
            try
            {
                await monitor.SetDriveAsync(QomProperties.PathOf(qdev), root, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (BlockException e) when (QmpRefusal.IsDeviceNotFound(e) && Stopwatch.GetElapsedTime(startedAt) < Longest)
            {
                await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
            }

            if (!(await monitor.QueryDevicesAsync(cancellationToken).ConfigureAwait(false))
                .Any(device => device.QomPath == qdev && device.NodeName == filter.Name))
            {
                return;
            }
        }
    }

    // The server serves all disks of the session, so the session leaves it with the last one.
    private async ValueTask EndServerAsync(int? diskIndex, CancellationToken cancellationToken)
    {
        IReadOnlyList<Part> all = await PartsAsync(null, cancellationToken).ConfigureAwait(false);
        if (diskIndex is not null && all.Any(part => part.Kind == Parts.Temp && part.DiskIndex != diskIndex))
        {
            return;
        }

        await ForEachAsync(all, Parts.Server, marker => PrivateServer.LeaveAsync(monitor, marker, cancellationToken))
            .ConfigureAwait(false);
    }

    private async ValueTask DeleteTempAsync(Part temp, CancellationToken cancellationToken)
    {
        await monitor.DeleteNodeAsync(temp.Name, cancellationToken).ConfigureAwait(false);
        if (Path.IsPathRooted(temp.FilePath))
        {
            FileNames.Delete(temp.FilePath);
        }
    }

    private ValueTask UntilNoJobAsync(string jobId, Func<string, ValueTask> end, CancellationToken cancellationToken) => UntilNoneAsync(
        async () => [.. (await monitor.QueryJobsAsync(cancellationToken).ConfigureAwait(false)).Select(job => job.Id)
            .Where(id => id == jobId)],
        end,
        cancellationToken);

    private async ValueTask UntilNoneAsync(
        Func<ValueTask<IReadOnlyList<string>>> list, Func<string, ValueTask> end, CancellationToken cancellationToken)
    {
        long startedAt = Stopwatch.GetTimestamp();
        while (await list().ConfigureAwait(false) is { Count: > 0 } found)
        {
            if (Stopwatch.GetElapsedTime(startedAt) > Longest)
            {
                throw new BlockException(
                    QemuErrors.CommandRefused,
                    $"The QEMU at '{monitor.SocketPath}' was asked to end '{found[0]}' and has not in {Longest.TotalSeconds:0} s. Try " +
                    "again: Stop-FleeceSession -QmpSocketPath ... -Force.",
                    monitor.SocketPath);
            }

            foreach (string id in found)
            {
                await end(id).ConfigureAwait(false);
            }

            await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
        }
    }
}
