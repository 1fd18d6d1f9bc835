// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Disks.Exports;
using Fleece.Disks.Metering;
using Fleece.Disks.Names;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd.Tls;

namespace Fleece.Disks;

/// <summary>The disks that are mounted in this process, by name. All runspaces of a process share it.</summary>
/// <param name="sockets">What keeps listening sockets for the next process; null for nothing.</param>
/// <remarks>Threading. All members are safe from any thread. Names are compared without regard to case.</remarks>
internal sealed class MountedDisks(IListenSockets? sockets = null) : IMetricSource, IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Disk> _disks = new(StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<string> _mounting = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<Disk, Task> _closing = [];
    private Action<Disk> _watchSlow = _ => { };
    private bool _isEnding;

    /// <summary>The mounted disks, sorted by name.</summary>
    public IReadOnlyList<Disk> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _disks.Values.OrderBy(disk => disk.Name, StringComparer.OrdinalIgnoreCase)];
            }
        }
    }

    /// <summary>Told what sessions warn of, as whole sentences, by a guest's write: it is quick and does not throw. Null for a process that
    /// keeps no log.</summary>
    public Action<string>? Told { get; init; }

    /// <summary>Told faults of disks and sessions as they happen, by a guest's request or by the disk's heartbeat: it is quick and does not
    /// throw. Null for a process that keeps no log.</summary>
    public Action<DiskFault>? Failed { get; init; }

    /// <summary>What of them is published over NBD.</summary>
    public PublishedExports Exports { get; } = new(sockets);

    /// <summary>All running sessions of all disks.</summary>
    public IReadOnlyList<Session> Sessions => [.. All.SelectMany(disk => disk.Sessions)];

    /// <summary>Names of the disks that are being closed now.</summary>
    public IReadOnlyList<string> Closing
    {
        get
        {
            lock (_lock)
            {
                return [.. _closing.Keys.Select(disk => disk.Name)];
            }
        }
    }

    /// <inheritdoc/>
    public IEnumerable<MetricReading> ReadMetrics() => DiskMetrics.Of(All).Concat(Exports.ReadMetrics());

    /// <summary>Tells of requests of guests that take longer than they should, on the disks that are mounted from now on.</summary>
    /// <inheritdoc cref="SlowRequests.Watch" path="/param"/>
    public void WatchSlow(TimeSpan threshold, Action<SlowRequest> tell) => _watchSlow = disk => disk.Slow.Watch(threshold, tell);

    /// <summary>Opens an image and adds it under its name.</summary>
    /// <inheritdoc cref="DiskOpening.OpenAsync" path="/param"/>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskNameInUse"/>, or why the image can't be
    /// opened.</exception>
    public async ValueTask<Disk> MountAsync(
        string path,
        string? name,
        ImageOpenOptions? options = null,
        TlsClientOptions? tls = null,
        bool isShared = false,
        SessionFolder? folder = null,
        SessionHandling handling = SessionHandling.Resume,
        CancellationToken cancellationToken = default)
    {
        string diskName = name ?? StorageAddress.NameOf(path);
        ObjectNames.Check(diskName);
        ExportNames.CheckDisk(diskName);
        lock (_lock)
        {
            if (_disks.ContainsKey(diskName) || !_mounting.Add(diskName))
            {
                throw new BlockException(
                    DiskErrors.DiskNameInUse,
                    $"A disk named '{diskName}' is mounted already. Give another -Name, or dismount it first.",
                    path);
            }
        }

        try
        {
            Disk disk = await Disk
                .OpenAsync(path, diskName, options, tls, isShared, folder, handling, cancellationToken).ConfigureAwait(false);
            lock (_lock)
            {
                if (!_isEnding)
                {
                    FleeceMeter.Add(this);
                    _watchSlow(disk);
                    disk.Told = Told;
                    disk.Failed = Failed;
                    _disks.Add(diskName, disk);
                    return disk;
                }
            }

            await disk.SuspendAsync().ConfigureAwait(false);
            throw new BlockException(BlockErrors.Closed, $"'{path}' was not mounted, because the process is ending.", path);
        }
        finally
        {
            lock (_lock)
            {
                _mounting.Remove(diskName);
            }
        }
    }

    /// <summary>The disk of that name.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskUnknown"/></exception>
    public Disk Find(string name)
    {
        lock (_lock)
        {
            return _disks.TryGetValue(name, out Disk? disk)
                ? disk
                : throw new BlockException(
                    DiskErrors.DiskUnknown,
                    $"No disk named '{name}' is mounted. Get-FleeceDisk lists the mounted ones.");
        }
    }

    /// <summary>Ends its exports, closes a disk and forgets it.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskUnknown"/>, or
    /// <see cref="DiskErrors.DiskBusy"/> when it has sessions or guests and <paramref name="isForced"/> is false.</exception>
    public async ValueTask DismountAsync(string name, bool isForced)
    {
        Disk disk = Find(name);
        if (!isForced)
        {
            CheckIdle(disk);
        }

        await CloseAsync(disk, suspends: false).ConfigureAwait(false);
    }

    /// <summary>As a forced <see cref="DismountAsync"/>, and leaves the sessions that can be resumed to the next mount.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskUnknown"/>, or why the disk was not closed in order.</exception>
    public async ValueTask SuspendAsync(string name) => await CloseAsync(Find(name), suspends: true).ConfigureAwait(false);

    /// <summary>Stops every session and closes every disk, all at once; one that fails or hangs does not keep the others open.</summary>
    /// <exception cref="AggregateException">The failures, when all others are closed.</exception>
    public ValueTask DisposeAsync() => CloseAllAsync(suspends: false);

    /// <summary>As <see cref="DisposeAsync"/>, and leaves the sessions that can be resumed to a later mount.</summary>
    /// <inheritdoc cref="DisposeAsync" path="/exception"/>
    public ValueTask SuspendAllAsync() => CloseAllAsync(suspends: true);

    private async ValueTask CloseAllAsync(bool suspends)
    {
        Task closing;
        lock (_lock)
        {
            foreach (Disk disk in _disks.Values)
            {
                _ = CloseAsync(disk, suspends);
            }

            // Each once: a failure in two of the tasks would be told twice.
            closing = Task.WhenAll(_closing.Values);
        }

        await closing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (closing.Exception is { } failures)
        {
            throw failures;
        }
    }

    /// <summary>As <see cref="SuspendAllAsync"/>, and for good: nothing is mounted any more, and listening sockets that are kept live on.
    /// </summary>
    /// <inheritdoc cref="DisposeAsync" path="/exception"/>
    public async ValueTask EndAsync()
    {
        lock (_lock)
        {
            _isEnding = true;
        }

        await Exports.LeaveSocketsAsync().ConfigureAwait(false);
        await SuspendAllAsync().ConfigureAwait(false);
    }

    // Two that close one disk wait for the same end.
    private Task CloseAsync(Disk disk, bool suspends)
    {
        lock (_lock)
        {
            if (!_closing.TryGetValue(disk, out Task? closing))
            {
                closing = OwnThread.Start(() => RunCloseAsync(disk, suspends), $"Fleece closes {disk.Name}");
                _closing.Add(disk, closing);
            }

            return closing;
        }
    }

    private async Task RunCloseAsync(Disk disk, bool suspends)
    {
        try
        {
            await Exports.UnpublishAsync(disk).ConfigureAwait(false);
            lock (_lock)
            {
                if (_disks.GetValueOrDefault(disk.Name) == disk)
                {
                    _disks.Remove(disk.Name);
                }
            }

            Task closing = suspends ? disk.SuspendAsync().AsTask() : disk.DisposeAsync().AsTask();
            await closing.ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
            {
                _closing.Remove(disk);
            }
        }
    }

    private void CheckIdle(Disk disk)
    {
        if (disk.Sessions.Count != 0)
        {
            throw new BlockException(
                DiskErrors.DiskBusy,
                $"The disk '{disk.Name}' has running sessions: {string.Join(", ", disk.Sessions.Select(s => s.Name))}. " +
                "Stop them first, or use -Force to stop them now.",
                disk.Path);
        }

        int guestCount = Exports.CountGuests(disk);
        if (guestCount != 0)
        {
            throw new BlockException(
                DiskErrors.DiskBusy,
                $"{guestCount} client(s) are connected to the disk '{disk.Name}'. Disconnect them first, or use -Force to " +
                "take the disk away from them now.",
                disk.Path);
        }
    }
}
