// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Logging;
using Fleece.Hosting.Paths;
using Fleece.Hosting.Records;
using Fleece.Hosting.Rpc;
using Fleece.Hosting.State;
using Fleece.Hosting.Systemd;
using Fleece.Nbd.Server.Listening;

namespace Fleece.Hosting.Host;

/// <summary>The host that this process is, from <see cref="Start"/> to <see cref="StopAsync"/>.</summary>
/// <remarks>
/// <para>Clients can connect as soon as it has started; the disks of its state come up meanwhile, and <see cref="Ready"/> says when each
/// has had its turn.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class HostProcess : IAsyncDisposable
{
    // How long requests, and attempts to mount, may take to give up when the host ends. Storage that does not answer keeps some from it.
    private static readonly TimeSpan GivingUpTime = TimeSpan.FromSeconds(5);

    // How long the QEMUs of guests may take, all at once, to have their sessions' filters taken out.
    private static readonly TimeSpan GuestTime = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly Lock _statusLock = new();
    private readonly ServiceNotifier _notifier;
    private readonly HostLog _log;
    private readonly HostState _state;
    private readonly HostParts _parts;
    private readonly HostServer _server;
    private readonly InheritedDescriptors? _inherited;
    private Task? _stopping;
    private bool _isEnding;

    private HostProcess(
        HostOptions options, HostLog log, HostState state, ControlSocket socket, PrivateSockets privateSockets, uint? groupId)
    {
        _notifier = options.Notifier;
        _log = log;
        _state = state;
        KeptSockets? kept = options.Inherited is null ? null : new KeptSockets(options.Notifier, options.Inherited, log);
        AuditTrail trail = new(state.Path, log.Say, AuditJournal.OfThisProcess());
        MountedDisks mounted = new(kept) { Told = log.Say, Failed = new DiskFaultLog(log.Say, trail).Tell };
        if (options.SlowRequest > TimeSpan.Zero)
        {
            mounted.WatchSlow(options.SlowRequest, new SlowRequestLog(log.Say, options.Time).Tell);
        }

        string folder = Path.GetDirectoryName(options.SocketPath)!;
        PathRules rules = PathRules.For(options.AllowedFolders, folder);
        LocalOwner owner = new(mounted, options.Guard, rules.CheckPlace, KeptSessions.OpenIn(state.Path));
        _parts = new HostParts
        {
            Disks = new ServedDisks(owner, state, rules, log, kept, options.Time) { Changed = TellStatus },
            Guests = new NotedGuests(state, owner.Guests, log),
            Leases = new Leases(options.Time, log),
            Requests = new RunningRequests(),
            Rules = rules,
            Access = new HostAccess(SystemUsers.Current, groupId, options.SocketGroup),
            Log = log,
            Trail = trail,
            SocketPath = options.SocketPath,
            StatePath = state.Path,
            PrivateSockets = privateSockets,
        };
        _server = new HostServer(socket, _parts, RpcLibrary.Load(), WireJson.Options, options.Time);
        _parts.CountClients = () => _server.ClientCount;
        _inherited = options.Inherited;
        Ready = ServeAsync();
    }

    /// <summary>This process as the owner of the host's disks.</summary>
    public LocalOwner Owner => _parts.Disks.Owner;

    /// <summary>What its connections share.</summary>
    public HostParts Parts => _parts;

    /// <summary>Completes when each disk of the state is served or has failed once; never fails.</summary>
    public Task Ready { get; }

    /// <summary>Starts a host.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.AlreadyRunning"/>, <see cref="HostErrors.StateInvalid"/>,
    /// <see cref="BlockErrors.InvalidArgument"/>, or why the state directory or the socket can't be used. Nothing is served.</exception>
    public static HostProcess Start(HostOptions options)
    {
        HostAccess.CheckGroup(SystemUsers.Current, options.SocketGroup);
        if (options.SlowRequest < TimeSpan.Zero)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The time from which on a request is slow is {options.SlowRequest}; it must be more than zero, or zero for never.");
        }

        string[] missing = [.. options.AllowedFolders.Where(folder => !Directory.Exists(folder))];

        // For a service, a file system that is not mounted yet keeps no disk of another one down.
        if (missing.Length != 0 && !options.Notifier.IsActive)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"There is no folder '{missing[0]}'. Make it first, or name another -AllowedPath.",
                missing[0]);
        }

        SocketAccess access = SocketAccess.Of(
            ControlSocket.UriOf(options.SocketPath), mode: null, options.SocketGroup, allowInsecure: false)!;
        HostState? state = null;
        ControlSocket? socket = null;
        try
        {
            state = HostState.Open(options.StatePath);
            socket = ControlSocket.Open(options.SocketPath, access);
            PrivateSockets privateSockets = PrivateSockets.Prepare(options.SocketPath, access.GroupId);
            HostLog log = new(options.Log);
            Array.ForEach(missing, folder => log.Say($"the folder '{folder}' of -AllowedPath is not there"));
            return new HostProcess(options, log, state, socket, privateSockets, access.GroupId);
        }
        catch
        {
            socket?.Dispose();
            state?.Dispose();
            throw;
        }
    }

    /// <summary>The host as it is now.</summary>
    public HostInfo Describe() => _parts.Describe();

    /// <summary>Ends the host: no more requests, sessions of jobs end without success, guests' writes are flushed, exports and disks are
    /// closed. Idempotent; all callers wait for the same end. Failures are in the log.</summary>
    public Task StopAsync()
    {
        lock (_lock)
        {
            return _stopping ??= RunStopAsync();
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => new(StopAsync());

    private async Task ServeAsync()
    {
        _log.Say(string.Create(
            CultureInfo.InvariantCulture,
            $"version {HostParts.ModuleVersion} listens at {_parts.SocketPath}; disks to serve from {_state.Path}: {_state.Disks.Count}"));
        _parts.Guests.BeginCleanUp();
        await _parts.Disks.ServeStoredAsync().ConfigureAwait(false);
        TellStatus(status =>
        {
            _log.Say($"ready, {status}");
            _notifier.Ready(status);
        });
    }

    private void TellStatus() => TellStatus(_notifier.Status);

    // One at a time, so that the last one is the newest. A host that ends has a status of its own.
    private void TellStatus(Action<string> tell)
    {
        lock (_statusLock)
        {
            if (!_isEnding)
            {
                Tell(() => tell(Status()));
            }
        }
    }

    private string Status()
    {
        int problems = _parts.Disks.Problems.Count;
        int count = Owner.Mounted.All.Count;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"serves {count} {(count == 1 ? "disk" : "disks")}{(problems == 0 ? string.Empty : $"; {problems} fail, see Get-FleeceHost")}");
    }

    private async Task RunStopAsync()
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        _log.Say("ends");
        lock (_statusLock)
        {
            _isEnding = true;
            Tell(() => _notifier.Stopping("closes its disks"));
        }

        await _server.StopAcceptingAsync().ConfigureAwait(false);
        await _parts.Requests.EndAsync(GivingUpTime).ConfigureAwait(false);
        await _parts.Disks.EndAsync(GivingUpTime).ConfigureAwait(false);
        await _parts.Guests.DisposeAsync().ConfigureAwait(false);

        // A session whose storage does not answer must not keep other disks open; the disk waits for it below.
        await Task.WhenAny(_parts.Leases.EndAllAsync().AsTask(), Task.Delay(GivingUpTime)).ConfigureAwait(false);
        IReadOnlyList<Disk> mounted = Owner.Mounted.All;
        await EndGuestsAsync().ConfigureAwait(false);
        await CloseDisksAsync().ConfigureAwait(false);
        _parts.Disks.NoteClosed(mounted);
        await _server.DisposeAsync().ConfigureAwait(false);
        _parts.PrivateSockets.Remove();
        _inherited?.Dispose();
        await _parts.Trail.DisposeAsync().ConfigureAwait(false);
        _state.Dispose();
        _log.Say("has ended");
        await _log.DisposeAsync().ConfigureAwait(false);
    }

    // A QEMU that does not answer keeps its own session, which the next host takes out, and no disk open.
    private async Task EndGuestsAsync()
    {
        Task ending = Owner.DisposeAsync().AsTask();
        await Task.WhenAny(ending, Task.Delay(GuestTime)).ConfigureAwait(false);
        if (ending.Exception?.InnerException is { } failure)
        {
            _log.Say($"could not end the sessions of all guests: {failure.Message}");
        }
    }

    private async Task CloseDisksAsync()
    {
        try
        {
            await Owner.Mounted.EndAsync().ConfigureAwait(false);
        }
        catch (AggregateException e)
        {
            foreach (Exception failure in e.InnerExceptions)
            {
                _log.Say($"could not close everything: {failure.Message}");
            }
        }
    }

    private void Tell(Action tell)
    {
        try
        {
            tell();
        }
        catch (BlockException e)
        {
            _log.Say(e.Message);
        }
    }
}
