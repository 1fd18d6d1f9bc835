// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Guests;

namespace Fleece.Qemu.Sessions;

/// <summary>A disk of a guest as a job fleeces it.</summary>
/// <param name="sessions">Begins and ends its sessions.</param>
/// <param name="qmpSocketPath">The monitor's socket.</param>
/// <param name="disk">The disk as it was found. Each call looks at it anew.</param>
internal sealed class QemuFleeceable(GuestSessions sessions, string qmpSocketPath, QemuDisk disk) : IFleeceable
{
    private readonly Lock _lock = new();
    private List<string> _notes = [];

    /// <summary>The name that finds the device again.</summary>
    public string Device { get; } = disk.Reply.QomPath ?? disk.Device;

    /// <inheritdoc/>
    public string Name => disk.Name;

    /// <inheritdoc/>
    public bool IsShared => false;

    /// <inheritdoc/>
    public bool IsReadOnly => disk.Node is { IsReadOnly: true };

    /// <inheritdoc/>
    public BitmapLifetime BitmapsLast => disk.HasPersistentBitmaps ? BitmapLifetime.Image : BitmapLifetime.Guest;

    /// <inheritdoc/>
    /// <remarks>What processes that died have left in the guest's QEMU is removed first. The session that is begun next tells of it.
    /// </remarks>
    public async ValueTask<IReadOnlyList<BitmapDescription>> ListBitmapsAsync(CancellationToken cancellationToken)
    {
        GuestMonitor guest = await sessions.Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        Note(await DeadSessions.RemoveAsync(guest.Commands, isForced: false, cancellationToken).ConfigureAwait(false));
        GuestBitmaps bitmaps = await FindBitmapsAsync(guest, cancellationToken).ConfigureAwait(false);
        return [.. bitmaps.All.Select(bitmap => bitmap.Describe())];
    }

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        ChangeAsync(bitmaps => bitmaps.Create(name), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        ChangeAsync(bitmaps => bitmaps.Restart(exactName), cancellationToken);

    /// <inheritdoc/>
    public async ValueTask RemoveBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        _ = await RunAsync(bitmaps => bitmaps.Remove(exactName), cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken) =>
        (await sessions.BeginAsync(qmpSocketPath, [Device], [options], TakeNotes(), cancellationToken).ConfigureAwait(false))[0];

    /// <inheritdoc/>
    /// <remarks>There is nothing to flush. QEMU has no command that flushes a disk, and takes none over the export of a snapshot. The
    /// snapshot was read through QEMU's own caches, as the guest would have read it. Storage that loses data of QEMU says so to QEMU,
    /// which tells the guest and not Fleece.</remarks>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => default;

    /// <summary>What the user has to hear of the guest and has not been told.</summary>
    internal IReadOnlyList<string> TakeNotes()
    {
        lock (_lock)
        {
            List<string> notes = _notes;
            _notes = [];
            return notes;
        }
    }

    private void Note(IReadOnlyList<string> sentences)
    {
        lock (_lock)
        {
            _notes.AddRange(sentences);
        }
    }

    private async ValueTask<BitmapDescription> ChangeAsync(
        Func<GuestBitmaps, BitmapChange> plan, CancellationToken cancellationToken)
    {
        (GuestBitmaps now, string exactName) = await RunAsync(plan, cancellationToken).ConfigureAwait(false);
        return now.Find(exactName).Describe();
    }

    private async ValueTask<(GuestBitmaps Now, string ExactName)> RunAsync(
        Func<GuestBitmaps, BitmapChange> plan, CancellationToken cancellationToken)
    {
        GuestMonitor guest = await sessions.Monitors.ConnectAsync(qmpSocketPath, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable closing = guest.ConfigureAwait(false);
        BitmapChange change = plan(await FindBitmapsAsync(guest, cancellationToken).ConfigureAwait(false));
        foreach (IReadOnlyList<JsonObject> actions in change.Transactions)
        {
            await guest.Commands.RunTransactionAsync(actions, cancellationToken).ConfigureAwait(false);
        }

        return (await FindBitmapsAsync(guest, cancellationToken).ConfigureAwait(false), change.ExactName);
    }

    private async ValueTask<GuestBitmaps> FindBitmapsAsync(GuestMonitor guest, CancellationToken cancellationToken)
    {
        QemuDisk now = (await GuestDisks.QueryAsync(guest.Commands, cancellationToken).ConfigureAwait(false)).Find(Device);
        return now.Node is { } node
            ? new GuestBitmaps(now.Name, node, now.HasPersistentBitmaps)
            : throw new BlockException(
                QemuErrors.DeviceUnsuitable,
                $"The device '{now.Device}' of the guest at '{qmpSocketPath}' has no medium, so it has no bitmaps.",
                qmpSocketPath);
    }
}

/// <summary>Disks of one guest.</summary>
internal sealed class QemuFleeceableSet(GuestSessions sessions, string qmpSocketPath, IReadOnlyList<QemuFleeceable> disks) : IFleeceableSet
{
    /// <inheritdoc/>
    public IReadOnlyList<IFleeceable> Disks => disks;

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<IFleeceSession>> BeginSessionsAsync(
        IReadOnlyList<SessionOptions> options, CancellationToken cancellationToken) =>
        await sessions
            .BeginAsync(
                qmpSocketPath,
                [.. disks.Select(disk => disk.Device)],
                options,
                [.. disks.SelectMany(disk => disk.TakeNotes()).Distinct()],
                cancellationToken)
            .ConfigureAwait(false);
}
