// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Logging;
using Fleece.Hosting.Paths;
using Fleece.Hosting.State;
using Fleece.Nbd;

namespace Fleece.Hosting.Host;

/// <summary>The host's disks, each as its state directory has it, so that the next host serves it in the same way.</summary>
/// <remarks>
/// <para>A change is durable when the call returns. A mount that can't be noted is undone. A disk that is taken away stays away also where
/// that can't be noted: <see cref="UnstoredRemovals"/> sees to it.</para>
/// <para>Threading. All members are safe from any thread; changes of one disk wait for each other. Ownership. It owns neither the disks nor
/// the state.</para>
/// </remarks>
internal sealed class ServedDisks : IDisposable
{
    private readonly HostState _state;
    private readonly PathRules _rules;
    private readonly HostLog _log;
    private readonly KeptSockets? _kept;
    private readonly NameLocks _names = new();
    private readonly UnservedDisks _unserved;
    private readonly UnstoredRemovals _removals;

    // As the host before has left them in the state, until they are served.
    private readonly ConcurrentDictionary<string, MountedDiskState> _found = new(StringComparer.OrdinalIgnoreCase);

    public ServedDisks(LocalOwner owner, HostState state, PathRules rules, HostLog log, KeptSockets? kept, TimeProvider time)
    {
        Owner = owner;
        _state = state;
        _rules = rules;
        _log = log;
        _kept = kept;
        _unserved = new UnservedDisks(ServeStoredAsync, SayProblem, time);
        _removals = new UnstoredRemovals(state);
        owner.Kept.DisksToCome = () => _unserved.Untried;
    }

    /// <summary>This process as the owner of the disks.</summary>
    public LocalOwner Owner { get; }

    /// <summary>The disks that are not served and should be, and what the next host would serve and should not; whole sentences.</summary>
    public IReadOnlyList<string> Problems => [.. _unserved.Problems, .. _removals.Problems];

    /// <summary>Called when a disk was mounted or dismounted, has failed or recovered; from any thread.</summary>
    public Action Changed { get; set; } = () => { };

    /// <summary>Mounts what the state has; disks that fail are tried again.</summary>
    /// <remarks>Sockets that the process before has left for listeners of the state are kept until their disk is served or dismounted.
    /// The clients of others would wait for ever.</remarks>
    /// <returns>Completes when each disk is served or has failed once; never fails.</returns>
    public async Task ServeStoredAsync()
    {
        IReadOnlyList<MountedDiskState> stored = _state.Disks;
        foreach (MountedDiskState disk in stored)
        {
            _found[disk.Name] = disk;
        }

        Note([.. stored.Select(AsServed)]);
        await _unserved.Add(stored).ConfigureAwait(false);
        ReleaseSockets();
        SayLostSessions();
    }

    /// <inheritdoc cref="IDiskControl.MountAsync"/>
    public async ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken)
    {
        _rules.Check(request);
        MountRequest named = request with { Name = request.Name ?? StorageAddress.NameOf(request.Address) };
        using IDisposable turn = await _names.EnterAsync(named.Name, cancellationToken).ConfigureAwait(false);
        if (_unserved.Find(named.Name) is { } problem)
        {
            throw new BlockException(
                DiskErrors.DiskNameInUse,
                $"The host has a disk named '{named.Name}'. {problem} Give another -Name, or let the host forget that disk with " +
                $"Dismount-FleeceDisk {PowerShellText.Argument(named.Name)}.",
                request.Address);
        }

        // A disk that was moved while no host ran, and is mounted where it lies now.
        MountedDiskState? moved = FindServedBefore(ImageTrace.Of(request.Address, isClosed: false));
        DiskInfo info = await Owner.OwnDisks
            .MountAsync(named, Owner.Kept.Own, SessionHandling.Resume, NoteBefore, cancellationToken).ConfigureAwait(false);
        try
        {
            _state.Put(Stored(named, info));
            Owner.Mounted.Find(info.Name).Storage.Journal.SettleLoss();
        }
        catch (BlockException e)
        {
            await Owner.Mounted.SuspendAsync(info.Name).ConfigureAwait(false);
            throw Unnoted(e, $"'{request.Address}' was not mounted, because the host can't note it for its next start");
        }

        if (moved is not null && !info.IsReadOnly)
        {
            _found.TryRemove(moved.Name, out _);
        }

        if (named.DiscardsSessions)
        {
            foreach (string note in info.Notes)
            {
                _log.Say($"disk {info.Name}: {note}");
            }
        }

        Changed();
        return info;

        // The state has the disk, and its loss, when it is mounted; the journal's is settled behind that.
        bool NoteBefore(Disk disk)
        {
            if (moved is not null)
            {
                UnflushedWrites.NoteIn(moved, disk.Storage);
            }

            WarnOfLoss(disk.Storage);
            return false;
        }
    }

    /// <inheritdoc cref="IDiskControl.FindDiskAsync"/>
    public async ValueTask<DiskInfo> FindAsync(DiskReference disk, CancellationToken cancellationToken)
    {
        try
        {
            return await Owner.Disks.FindDiskAsync(disk, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind == DiskErrors.DiskUnknown && FindProblem(disk.Name) is { } problem)
        {
            throw new BlockException(e.Kind, problem, cause: e);
        }
    }

    /// <inheritdoc cref="IDiskControl.DismountAsync"/>
    /// <remarks>One that is not served is forgotten, and so is one that is dismounted and could not be forgotten.</remarks>
    public async ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken)
    {
        MountedDiskState? stored = FindStored(disk.Name) ?? _removals.Find(disk.Name);
        string? problem = FindProblem(disk.Name);
        if (stored is not null && problem is not null && disk.MountId is null)
        {
            await _unserved.ForgetAsync(disk.Name).AsTask().WaitAsync(cancellationToken).ConfigureAwait(false);
        }

        using IDisposable turn = await _names.EnterAsync(disk.Name, cancellationToken).ConfigureAwait(false);
        DiskInfo before;
        try
        {
            before = await Owner.Disks.DismountAsync(disk, isForced, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind == DiskErrors.DiskUnknown && stored is not null)
        {
            MountRequest mount = stored.Mount;
            before = new DiskInfo(stored.Name, mount.Address, mount.Format, mount.IsReadOnly, mount.IsShared, problem ?? e.Message);
        }

        try
        {
            _removals.Store(before);
        }
        finally
        {
            Changed();
        }

        ReleaseSockets();
        return before;
    }

    /// <inheritdoc cref="IExportControl.PublishAsync"/>
    public async ValueTask<ExportInfo> PublishAsync(DiskReference disk, ListenRequest request, CancellationToken cancellationToken)
    {
        _rules.Check(request);
        using IDisposable turn = await _names.EnterAsync(disk.Name, cancellationToken).ConfigureAwait(false);
        ExportInfo info = await Owner.Exports.PublishAsync(disk, request, cancellationToken).ConfigureAwait(false);
        try
        {
            NoteListener(disk.Name, Stored(request, info));
        }
        catch (BlockException e)
        {
            await Owner.Exports.UnpublishAsync(
                new ExportReference(info.Disk, info.Name, info.ExportId), isForced: true, CancellationToken.None).ConfigureAwait(false);
            throw Unnoted(e, $"The disk '{disk}' was not published, because the host can't note it for its next start");
        }

        return info;
    }

    /// <inheritdoc cref="IExportControl.UnpublishAsync"/>
    public async ValueTask<ExportInfo> UnpublishAsync(ExportReference export, bool isForced, CancellationToken cancellationToken)
    {
        using IDisposable turn = await _names.EnterAsync(export.Disk, cancellationToken).ConfigureAwait(false);
        ExportInfo before;
        try
        {
            before = await Owner.Exports.UnpublishAsync(export, isForced, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (
            e.Kind is NbdErrors.ExportUnknown or DiskErrors.RecordStale && _removals.FindExport(export.ExportId) is not null)
        {
            before = _removals.FindExport(export.ExportId)!;
        }

        _removals.Store(before);
        return before;
    }

    /// <summary>Serves no more disks of the state.</summary>
    public ValueTask EndAsync(TimeSpan patience) => _unserved.EndAsync(patience);

    /// <summary>Notes how the images were left, so that the next host tells of changes in between. The disks are closed.</summary>
    /// <param name="wereMounted">The disks that were mounted.</param>
    public void NoteClosed(IReadOnlyCollection<Disk> wereMounted)
    {
        Dictionary<string, Disk> mounted = wereMounted.ToDictionary(disk => disk.Name, StringComparer.OrdinalIgnoreCase);
        Note([.. _state.Disks.Select(disk => mounted.TryGetValue(disk.Name, out Disk? closed) ? AsClosed(disk, closed) : AsFound(disk))]);
    }

    /// <inheritdoc/>
    public void Dispose() => _unserved.Dispose();

    // A loss that no client has been told of yet is one for the next host to tell.
    private static MountedDiskState AsClosed(MountedDiskState disk, Disk closed) => disk with
    {
        Image = ImageTrace.Of(disk.Mount.Address, isClosed: true),
        ServedInBoot = closed.Storage.LostWrites.IsUntold ? disk.ServedInBoot : null,
        UnjournaledInBoot = closed.Storage.LostWrites.IsUntold
            ? UnflushedWrites.UnjournaledBoot(closed.Storage, disk.UnjournaledInBoot)
            : null,
    };

    // That of a disk which was not served, and which the host before had left in order.
    private MountedDiskState AsFound(MountedDiskState disk) =>
        _found.TryGetValue(disk.Name, out MountedDiskState? found) && found.Mount == disk.Mount ? found : disk;

    private static MountedDiskState AsServed(MountedDiskState disk) => UnflushedWrites.InThisRun(disk) with
    {
        Image = disk.Image is { } image ? image with { IsClosed = false } : null,
    };

    // One that has not been served since: what it lacks is what the host before did not bring to it.
    private MountedDiskState? FindServedBefore(ImageTrace? image) => image is null
        ? null
        : _found.Values.FirstOrDefault(found => found.Image?.FileId == image.FileId);

    private void Note(IReadOnlyList<MountedDiskState> disks) => Note(() => _state.Put(disks));

    // A state that can't be written keeps no disk down. A loss is not noted then.
    private bool Note(Action change)
    {
        try
        {
            change();
            return true;
        }
        catch (BlockException e)
        {
            _log.Say($"can't note how the images are: {e.Message}");
            return false;
        }
    }

    private static BlockException Unnoted(BlockException cause, string consequence) =>
        new(cause.Kind, $"{consequence}: {cause.Message}", cause.Path, operation: cause.Operation, cause: cause);

    private static ListenRequest Stored(ListenRequest request, ExportInfo export) =>
        request with { ListenUri = export.Uri.ToString(), ExportName = export.Name };

    private async ValueTask ServeStoredAsync(MountedDiskState stored, CancellationToken cancellationToken)
    {
        using IDisposable turn = await _names.EnterAsync(stored.Name, cancellationToken).ConfigureAwait(false);
        _rules.Check(stored.Mount);
        if (stored.Image?.FindChange(stored.Mount.Address, out bool isMissing) is { } change)
        {
            if (isMissing)
            {
                throw new BlockException(BlockErrors.NotFound, change, stored.Mount.Address, operation: "open");
            }

            _log.Say($"disk {stored.Name}: {change}");
        }

        await Owner.OwnDisks
            .MountAsync(stored.Mount, Owner.Kept.Own, SessionHandling.ResumeOrLose, Note, cancellationToken).ConfigureAwait(false);
        _found.TryRemove(stored.Name, out _);
        _log.Say($"serves disk {stored.Name}, {stored.Mount.Address}");

        bool Note(Disk disk)
        {
            foreach (Session session in disk.Sessions)
            {
                _log.Say(FormattableString.Invariant($"session {session.Id} of {session.StartedAt:u} goes on"));
            }

            foreach (string note in disk.Notes.Append(disk.Storage.JournalWarning).OfType<string>())
            {
                _log.Say($"disk {stored.Name}: {note}");
            }

            return NoteLoss(stored, disk.Storage);
        }
    }

    // Before a guest can write, so that the next host knows whether this one can lose what it answers. False where it will not know.
    private bool NoteLoss(MountedDiskState stored, DiskStorage disk)
    {
        UnflushedWrites.NoteIn(stored, disk);
        WarnOfLoss(disk);
        MountedDiskState served = AsServed(stored);
        return UnflushedWrites.UnjournaledBoot(disk, served.UnjournaledInBoot) is not { } boot || boot == served.UnjournaledInBoot ||
            Note(() => _state.NoteServed(stored.Name, served.ServedInBoot, boot));
    }

    private void WarnOfLoss(DiskStorage disk)
    {
        disk.LostWrites.Told = error => TellLoss(disk, error);
        disk.LostWrites.Noted = () =>
        {
            SayLoss(disk);
            NoteServed(disk);
        };
        SayLoss(disk);
    }

    private void SayLoss(DiskStorage disk)
    {
        if (disk.LostWrites.Warning is { } warning)
        {
            _log.Say($"disk {disk.Name}: {warning} The first flush of a guest fails.");
        }
    }

    private void TellLoss(DiskStorage disk, BlockException error)
    {
        _log.Say($"disk {disk.Name}: a guest's flush failed, as it had to: {error.Message}");
        NoteServed(disk);
    }

    // Not on the thread of a guest's request or of a disk's heartbeat. Where the state can't be written, the next host tells once more.
    private void NoteServed(DiskStorage disk) => ThreadPool.QueueUserWorkItem(_ => Note(
        () => _state.NoteServed(disk.Name, BootId.Current, UnflushedWrites.UnjournaledBoot(disk))));

    private void SayLostSessions()
    {
        try
        {
            foreach (LostSession session in Owner.Kept.Lost)
            {
                _log.Say(session.CanResume
                    ? $"session {session} waits: {session.Reason}"
                    : $"session {session} is lost: {session.Reason} " +
                        $"Stop-FleeceSession {PowerShellText.Argument(session.Id)} -Force removes what is kept of it.");
            }
        }
        catch (BlockException e)
        {
            _log.Say($"can't look for lost sessions: {e.Message}");
        }
    }

    private void SayProblem(string line)
    {
        _log.Say(line);
        Changed();
    }

    private void ReleaseSockets() => _kept?.ReleaseAllBut(
        _state.Disks.SelectMany(disk => disk.Mount.Listeners).Select(listener => NbdUri.Parse(listener.ListenUri)));

    private MountedDiskState Stored(MountRequest request, DiskInfo info)
    {
        Disk disk = Owner.Mounted.Find(info.Name);
        IReadOnlyList<DiskExport> exports = Owner.Mounted.Exports.Of(disk);
        return new MountedDiskState
        {
            Mount = request with
            {
                Name = info.Name,
                DiscardsSessions = false,
                Listeners = [.. request.Listeners.Zip(exports, (listener, export) => Stored(listener, export.Describe()))],
            },
            Image = ImageTrace.Of(request.Address, isClosed: false),
            ServedInBoot = info.IsReadOnly ? null : BootId.Current,
            UnjournaledInBoot = UnflushedWrites.UnjournaledBoot(disk.Storage),
        };
    }

    private void NoteListener(string disk, ListenRequest listener)
    {
        // A disk that a cmdlet of the host's own process has mounted is not the state's.
        if (FindStored(disk) is { } stored)
        {
            _state.Put(stored with { Mount = stored.Mount with { Listeners = [.. stored.Mount.Listeners, listener] } });
        }
    }

    private string? FindProblem(string name) => _unserved.Find(name) ?? _removals.FindProblem(name);

    private MountedDiskState? FindStored(string name) =>
        _state.Disks.FirstOrDefault(disk => string.Equals(disk.Name, name, StringComparison.OrdinalIgnoreCase));
}
