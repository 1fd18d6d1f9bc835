// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Records;
using Fleece.Qemu.Sessions;

namespace Fleece.Qemu;

/// <summary>The guests that QEMU runs, as this process works with them: their disks, and the sessions that it has begun.</summary>
/// <remarks>
/// <para>A monitor serves one client at a time, so no connection to it outlives a call.</para>
/// <para>Threading. All members are safe from any thread. Errors. <see cref="QemuErrors"/> and <see cref="DiskErrors"/>; a call that
/// fails has changed nothing. Ownership. It owns its sessions.</para>
/// </remarks>
internal sealed class QemuGuests(QemuGuestsOptions options) : IAsyncDisposable
{
    private readonly GuestSessions _sessions = new(options);

    /// <summary>The sessions that run, oldest first.</summary>
    public IReadOnlyList<IRunningSession> Sessions => _sessions.Running.All;

    /// <summary>The disks of a guest. Changes nothing.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket of its QEMU.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<IReadOnlyList<QemuDiskInfo>> ListDisksAsync(string qmpSocketPath, CancellationToken cancellationToken)
    {
        GuestMonitor guest = await _sessions.Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        QmpSchema schema = await guest.QuerySchemaAsync(cancellationToken).ConfigureAwait(false);
        QemuStatusReply status = await guest.Commands.QueryStatusAsync(cancellationToken).ConfigureAwait(false);
        GuestDisks disks = await GuestDisks.QueryAsync(guest.Commands, cancellationToken).ConfigureAwait(false);
        return [.. disks.Disks.Select(disk => GuestRecords.Describe(disk, disks, status, schema, guest.Commands.Version))];
    }

    /// <summary>Disks of one guest, whose sessions can begin at one instant. Sessions that a job begins are in <see cref="Sessions"/>.
    /// </summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="devices">The devices, each once: ids, names of backends, QOM paths or node-names.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<IFleeceableSet> FindFleeceablesAsync(
        string qmpSocketPath, IReadOnlyList<string> devices, CancellationToken cancellationToken)
    {
        GuestMonitor guest = await _sessions.Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        GuestDisks disks = await GuestDisks.QueryAsync(guest.Commands, cancellationToken).ConfigureAwait(false);
        return new QemuFleeceableSet(
            _sessions, qmpSocketPath, [.. devices.Select(device => new QemuFleeceable(_sessions, qmpSocketPath, disks.Find(device)))]);
    }

    /// <summary>Begins a session of each device, all at one instant.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="devices">The devices, each once.</param>
    /// <param name="sessionOptions">How; the same for all.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async ValueTask<IReadOnlyList<IRunningSession>> StartSessionsAsync(
        string qmpSocketPath, IReadOnlyList<string> devices, SessionOptions sessionOptions, CancellationToken cancellationToken) =>
        await _sessions
            .BeginAsync(qmpSocketPath, devices, [.. devices.Select(_ => sessionOptions)], notes: [], cancellationToken)
            .ConfigureAwait(false);

    /// <summary>Takes out of a QEMU all that sessions of processes that died have added to it.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="isForced">True to take out what living processes have added too. The sessions of this one are ended without success.
    /// </param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>A sentence for each thing that was taken out, and for each session that goes on.</returns>
    public async ValueTask<IReadOnlyList<string>> CleanUpAsync(string qmpSocketPath, bool isForced, CancellationToken cancellationToken)
    {
        List<string> sentences = [];
        foreach (QemuSession session in _sessions.Running.All.Where(session => isForced && session.QmpSocketPath == qmpSocketPath))
        {
            _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
            sentences.Add($"The session '{session.Id}' of this process was ended without success.");
        }

        GuestMonitor guest = await _sessions.Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        sentences.AddRange(await DeadSessions.RemoveAsync(guest.Commands, isForced, cancellationToken).ConfigureAwait(false));
        sentences.AddRange(await DescribeLivingAsync(guest.Commands, qmpSocketPath, cancellationToken).ConfigureAwait(false));
        return sentences;
    }

    private async ValueTask<IReadOnlyList<string>> DescribeLivingAsync(
        QemuMonitor monitor, string qmpSocketPath, CancellationToken cancellationToken)
    {
        QemuSession[] own = [.. _sessions.Running.All.Where(session => session.QmpSocketPath == qmpSocketPath)];
        IEnumerable<string> others = (await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
            .Select(Part.Of).OfType<Part>()
            .Where(part => part is { Kind: Parts.Temp, FilePath: { } path } && FleecingTemp.IsOwned(path) == true)
            .Select(part => part.Session).Distinct();
        return
        [
            .. own.Select(session =>
                $"The session '{session.Id}' of this process goes on. Stop-FleeceSession {PowerShellText.Argument(session.Id)} ends it, " +
                "and so does -Force."),
            .. others
                .Where(other => !Array.Exists(own, session => NodeNames.SessionOf(session.InstantId) == other))
                .Select(other => $"The session {other} of another process goes on, because that process lives. -Force ends it."),
        ];
    }

    /// <summary>Ends all sessions without success. Idempotent. What can't be ended now, because a monitor is held by another client, is
    /// removed by the next command when this process is gone.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (QemuSession session in _sessions.Running.All)
        {
            try
            {
                _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
            }
            catch (BlockException)
            {
                // The others are ended all the same.
            }
        }
    }
}
