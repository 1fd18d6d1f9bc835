// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.State;

/// <summary>The disks that a host has mounted, and the guests that it may have sessions of, kept in its state directory.</summary>
/// <remarks>
/// <para>state.json is replaced in one step for each change, and the generation before is kept beside it: docs/host.md has the format.
/// </para>
/// <para>Threading. All members are safe from any thread; changes wait for one another and for the storage. Ownership. Disposing it gives
/// the directory free, and changes nothing in it. Errors. <see cref="BlockException"/>.</para>
/// </remarks>
internal sealed class HostState : IDisposable
{
    private readonly Lock _changing = new();
    private readonly LocalFile _lock;
    private readonly StateStore _store;
    private volatile IReadOnlyList<MountedDiskState> _disks;
    private volatile IReadOnlyList<MountedDiskState> _stored;
    private volatile IReadOnlyList<string> _qmpSockets;
    private bool _isDisposed;

    private HostState(string path, LocalFile lockFile, StateStore store)
    {
        (IReadOnlyList<MountedDiskState> stored, _qmpSockets) = store.Read();
        IReadOnlyList<MountedDiskState> disks = [.. ByName(stored).Values];
        Path = path;
        _lock = lockFile;
        _store = store;
        _disks = disks;
        _stored = disks;
    }

    /// <summary>Full path of the directory.</summary>
    public string Path { get; }

    /// <summary>The disks, sorted by name. A list that was handed out does not change.</summary>
    public IReadOnlyList<MountedDiskState> Disks => _disks;

    /// <summary>The disks that the next host serves: those of state.json, which has more than <see cref="Disks"/> after a removal that
    /// could not be stored. A list that was handed out does not change.</summary>
    public IReadOnlyList<MountedDiskState> Stored => _stored;

    /// <summary>The sockets of QEMUs whose guests may have sessions of the host, sorted. A list that was handed out does not change.
    /// </summary>
    public IReadOnlyList<string> QmpSockets => _qmpSockets;

    /// <summary>Takes a state directory, which is made where it is missing, and reads it.</summary>
    /// <param name="path">The directory; its parent must be there.</param>
    /// <param name="format">The format; null for that of this Fleece.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.AlreadyRunning"/>; <see cref="HostErrors.StateInvalid"/>: what is there is
    /// damaged, of a version that this Fleece does not know, or not this user's alone, and nothing has been changed;
    /// <see cref="BlockErrors.NotFound"/>: the parent is not there; or the error of the system.</exception>
    public static HostState Open(string path, StateFormat? format = null)
    {
        string fullPath = System.IO.Path.TrimEndingDirectorySeparator(FileOpening.FullPath(path, "open"));
        LocalFile lockFile = StateFolder.Take(fullPath);
        try
        {
            StateStore store = new(fullPath, format ?? StateFormat.Current);
            return new HostState(fullPath, lockFile, store);
        }
        catch
        {
            lockFile.Dispose();
            throw;
        }
    }

    /// <summary>Notes disks, in place of those of the same names. It is durable when this returns.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: a disk with credentials, with a certificate that came
    /// from no file or with a relative path; or why it can't be stored. Nothing has changed then.</exception>
    public void Put(params IReadOnlyList<MountedDiskState> disks)
    {
        ArgumentNullException.ThrowIfNull(disks);
        if (disks.Select(StateRules.FindFault).FirstOrDefault(found => found is not null) is { } fault)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"The host can't keep this for its next start, so nothing was done: {fault}.");
        }

        Change(isRemoval: false, present =>
        {
            foreach (MountedDiskState disk in disks)
            {
                present[disk.Name] = disk;
            }
        });
    }

    /// <summary>Forgets a disk; one that is not noted is no error. It is durable when this returns.</summary>
    /// <exception cref="BlockException">Why it can't be stored. <see cref="Disks"/> is without it all the same, and the next change that
    /// is stored leaves it out.</exception>
    public void Remove(string name) => Change(isRemoval: true, present => present.Remove(name));

    /// <summary>Forgets a listener of a disk; one that is not noted is no error. It is durable when this returns.</summary>
    /// <inheritdoc cref="Remove" path="/exception"/>
    public void RemoveListener(string name, string listenUri) => Change(isRemoval: true, present =>
    {
        if (present.TryGetValue(name, out MountedDiskState? disk) &&
            disk.Mount.Listeners.Any(listener => listener.ListenUri == listenUri))
        {
            IReadOnlyList<ListenRequest> left = [.. disk.Mount.Listeners.Where(listener => listener.ListenUri != listenUri)];
            present[name] = disk with { Mount = disk.Mount with { Listeners = left } };
        }
    });

    /// <summary>Notes that a disk is served in this run of the system; one that is not noted is no error. It is durable when this returns.
    /// </summary>
    /// <param name="name">The disk.</param>
    /// <param name="servedInBoot">As <see cref="MountedDiskState.ServedInBoot"/>.</param>
    /// <param name="unjournaledInBoot">As <see cref="MountedDiskState.UnjournaledInBoot"/>.</param>
    /// <exception cref="BlockException">Why it can't be stored. Nothing has changed then.</exception>
    public void NoteServed(string name, Guid? servedInBoot, Guid? unjournaledInBoot) => Change(isRemoval: false, present =>
    {
        if (present.TryGetValue(name, out MountedDiskState? disk))
        {
            present[name] = disk with { ServedInBoot = servedInBoot, UnjournaledInBoot = unjournaledInBoot };
        }
    });

    /// <summary>Notes the socket of a QEMU; one that is noted already is no error. It is durable when this returns.</summary>
    /// <param name="path">Its absolute path.</param>
    /// <exception cref="BlockException">Why it can't be stored. Nothing has changed then.</exception>
    public void AddQmpSocket(string path) =>
        ChangeSockets(sockets => sockets.Contains(path) ? sockets : [.. sockets.Append(path).Order(StringComparer.Ordinal)]);

    /// <summary>Forgets the socket of a QEMU; one that is not noted is no error. It is durable when this returns.</summary>
    /// <inheritdoc cref="AddQmpSocket" path="/exception"/>
    public void RemoveQmpSocket(string path) =>
        ChangeSockets(sockets => sockets.Contains(path) ? [.. sockets.Where(other => other != path)] : sockets);

    /// <summary>Gives the directory free. Idempotent.</summary>
    public void Dispose()
    {
        lock (_changing)
        {
            _isDisposed = true;
            _lock.Dispose();
        }
    }

    // A disk that was taken away is away whether that is stored or not.
    private void Change(bool isRemoval, Action<SortedDictionary<string, MountedDiskState>> change)
    {
        lock (_changing)
        {
            CheckOpen();
            SortedDictionary<string, MountedDiskState> disks = ByName(_disks);
            change(disks);
            MountedDiskState[] changed = [.. disks.Values];
            if (isRemoval)
            {
                _disks = changed;
            }

            if (!changed.SequenceEqual(_stored))
            {
                _store.Write(changed, _qmpSockets);
                _stored = changed;
                _disks = changed;
            }
        }
    }

    private void ChangeSockets(Func<IReadOnlyList<string>, IReadOnlyList<string>> change)
    {
        lock (_changing)
        {
            CheckOpen();
            IReadOnlyList<string> changed = change(_qmpSockets);
            if (changed != _qmpSockets)
            {
                _store.Write(_disks, changed);
                _stored = _disks;
                _qmpSockets = changed;
            }
        }
    }

    // Under the lock.
    private void CheckOpen()
    {
        if (_isDisposed)
        {
            throw new BlockException(BlockErrors.Closed, "The host has ended, and stores nothing any more. Start it again.", Path);
        }
    }

    private static SortedDictionary<string, MountedDiskState> ByName(IReadOnlyList<MountedDiskState> disks) =>
        new(disks.ToDictionary(disk => disk.Name), StringComparer.OrdinalIgnoreCase);
}
