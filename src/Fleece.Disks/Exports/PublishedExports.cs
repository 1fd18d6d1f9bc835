// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Disks.Names;
using Fleece.Nbd;
using Fleece.Nbd.Server.Listening;
using Fleece.Nbd.Tls;

namespace Fleece.Disks.Exports;

/// <summary>The disks of this process that are published over NBD.</summary>
/// <param name="sockets">What keeps listening sockets for the next process; null for nothing: they end with this one.</param>
/// <remarks>Threading. All members are safe from any thread. Ownership. It owns the listeners, not the disks.</remarks>
#pragma warning disable CA1001 // Lives as long as the process; the lock has no handle.
internal sealed class PublishedExports(IListenSockets? sockets = null)
{
    private readonly SemaphoreSlim _lock = new(1, 1);
    private readonly Dictionary<string, Listener> _listeners = [];
    private volatile DiskExport[] _all = [];
    private bool _isEnding;

    /// <summary>All exports, in the order they were published.</summary>
    public IReadOnlyList<DiskExport> All => _all;

    /// <summary>The exports of one disk, in the order they were published.</summary>
    public IReadOnlyList<DiskExport> Of(Disk disk) => Array.FindAll(_all, export => export.Disk == disk);

    /// <summary>Publishes a disk; clients can connect when this returns.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.ExportNameInUse"/>,
    /// <see cref="BlockErrors.InvalidArgument"/>, <see cref="NbdErrors.UriInvalid"/>, or why the address can't be
    /// used.</exception>
    public async ValueTask<DiskExport> PublishAsync(
        Disk disk, ExportOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        string name = options.Name ?? (options.ListenUri.ExportName.Length != 0 ? options.ListenUri.ExportName : disk.Name);
        ExportNames.Check(name);
        foreach (Session session in disk.Sessions)
        {
            ExportNames.CheckSession(name, session.Name, session.Consumers.Select(consumer => consumer.Name), "-ExportName");
        }

        CheckName(options.ListenUri.WithExport(name));
        await _lock.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_isEnding)
            {
                throw new BlockException(BlockErrors.Closed, $"'{disk.Name}' was not published, because the process is ending.", disk.Path);
            }

            string address = AddressOf(options.ListenUri);
            bool isShared = _listeners.TryGetValue(address, out Listener? listener);
            if (isShared)
            {
                CheckShared(listener!, name, options);
            }
            else
            {
                listener = Listener.Open(options, sockets);
                _listeners.Add(AddressOf(listener.Uri), listener);
            }

            DiskExport export = new(listener!, disk, name, options, () => CountGuests(disk));
            listener!.Add(export);
            _all = [.. _all, export];
            Tell(disk);
            return export;
        }
        finally
        {
            _lock.Release();
        }
    }

    /// <summary>Takes an export away: requests that have arrived finish, then its connections are closed; a listener without
    /// exports ends. Idempotent.</summary>
    public async ValueTask UnpublishAsync(DiskExport export)
    {
        ArgumentNullException.ThrowIfNull(export);
        ValueTask closing;
        await _lock.WaitAsync().ConfigureAwait(false);
        try
        {
            if (!_all.Contains(export))
            {
                return;
            }

            _all = [.. _all.Where(other => other != export)];
            Tell(export.Disk);
            export.Listener.Remove(export);
            if (export.Listener.Exports.Count != 0)
            {
                return;
            }

            // The address is free when this call returns; the clients are waited for without keeping other exports from ending.
            _listeners.Remove(AddressOf(export.Listener.Uri));
            closing = export.Listener.DisposeAsync();
        }
        finally
        {
            _lock.Release();
        }

        await closing.ConfigureAwait(false);
    }

    /// <summary>Clients that use a disk itself now, over all its exports.</summary>
    public int CountGuests(Disk disk) => Of(disk).Sum(export => export.GuestCount);

    /// <summary>Before the process ends: no client is accepted any more at sockets that are kept, so that those which connect again wait
    /// for the next process. Clients that are connected are served until their exports are taken away. Nothing is published any more.
    /// </summary>
    public async ValueTask LeaveSocketsAsync()
    {
        await _lock.WaitAsync().ConfigureAwait(false);
        try
        {
            _isEnding = true;
            foreach (Listener listener in _listeners.Values)
            {
                listener.LeaveSocket();
            }
        }
        finally
        {
            _lock.Release();
        }
    }

    /// <summary>The requests to all exports, and the memory that their listeners use.</summary>
    public IEnumerable<MetricReading> ReadMetrics()
    {
        DiskExport[] exports = _all;
        return
        [
            .. exports.SelectMany(export => export.ReadMetrics()),
            .. exports.Select(export => export.Listener).Distinct().SelectMany(listener => listener.ReadMetrics()),
        ];
    }

    /// <summary>Takes all exports of a disk away.</summary>
    public async ValueTask UnpublishAsync(Disk disk)
    {
        foreach (DiskExport export in Of(disk))
        {
            await UnpublishAsync(export).ConfigureAwait(false);
        }
    }

    private void Tell(Disk disk)
    {
        IReadOnlyList<DiskExport> exports = Of(disk);
        disk.ExportNames = [.. exports.Select(export => export.Name)];
        disk.ExportUris = [.. exports.Where(export => !export.IsSnapshotOnly).Select(export => export.Uri)];
    }

    /// <summary>Refuses a name that comes back from its URI as another one: it could be published and never be asked for.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.UriInvalid"/></exception>
    public static void CheckName(NbdUri uri)
    {
        if (NbdUri.Parse(uri.ToString()).ExportName != uri.ExportName)
        {
            throw new BlockException(
                NbdErrors.UriInvalid,
                $"'{uri.ExportName}' can't be the name of an export, because a URI can't hold it. Give another one with -ExportName.");
        }
    }

    // Whoever joins a listener gets what it does, which must be no less than what was asked for.
    private static void CheckShared(Listener listener, string name, ExportOptions options)
    {
        if (options.ListenUri.IsTls != listener.Uri.IsTls)
        {
            throw new BlockException(
                NbdErrors.TlsFailed,
                $"'{listener.Uri}' listens {(listener.Uri.IsTls ? "with TLS" : "without TLS")} already. Write its address as it is, or " +
                "choose another.");
        }

        if (options.Tls is { } tls && !IsSame(tls, listener.Tls))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{listener.Uri}' listens with another certificate or other authorities already. Leave them out, or choose another " +
                "address.");
        }

        if (SocketAccess.Of(options.ListenUri, options.SocketMode, options.SocketGroup, options.AllowInsecure) is { } access &&
            (options.SocketMode is not null || options.SocketGroup is not null) && !IsSame(access, listener.Access!))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{listener.Uri}' listens with another mode or group already: its mode is {listener.Access}. Leave -SocketMode and " +
                "-SocketGroup out, or choose another address.");
        }

        if (listener.Exports.Any(export => export.Owns(name) || export.Name.StartsWith(name + "/", StringComparison.Ordinal)))
        {
            throw new BlockException(
                DiskErrors.ExportNameInUse,
                $"'{listener.Uri}' has an export named '{name}', or one of that name and a slash, already. Give another name with " +
                "-ExportName.");
        }
    }

    private static bool IsSame(SocketAccess asked, SocketAccess present) =>
        asked.Mode == present.Mode && (asked.GroupId is null || asked.GroupId == present.GroupId);

    private static bool IsSame(TlsServerOptions asked, TlsServerOptions? present) =>
        asked.Certificate.Thumbprint == present?.Certificate.Thumbprint &&
        ThumbprintsOf(asked).SetEquals(ThumbprintsOf(present)) &&
        asked.ClientAuthorities is null == present.ClientAuthorities is null;

    private static HashSet<string> ThumbprintsOf(TlsServerOptions options) =>
        [.. options.ClientAuthorities?.Select(authority => authority.Thumbprint) ?? []];

    // Two ways of writing one address would make two listeners, and the second finds it in use.
    private static string AddressOf(NbdUri uri) => uri.IsUnix
        ? Path.GetFullPath(uri.SocketPath)
        : $"{uri.Host.ToUpperInvariant()}:{uri.Port}";
}
