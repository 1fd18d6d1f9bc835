// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Listening;

namespace Fleece.Disks.Exports;

/// <summary>One address with the disks that are published there.</summary>
/// <remarks>Threading. Clients ask from any thread; all else happens one at a time. The list of exports is replaced, never changed.
/// </remarks>
internal sealed class Listener : IExportDirectory, IAsyncDisposable
{
    private readonly NbdServer _server;
    private readonly IListenSockets? _sockets;
    private readonly bool _isKept;
    private volatile DiskExport[] _exports = [];
    private bool _isLeft;

    private Listener(NbdUri uri, NbdServerOptions options, IListenSockets? sockets, SafeSocketHandle? inherited)
    {
        Tls = options.Tls;
        _sockets = sockets;
        _server = inherited is null ? NbdServer.Listen(uri, this, options) : NbdServer.Inherit(inherited, uri, this, options);
        IsOfThisMachine = Uri.IsUnix || Uri.Host is "" or "localhost" ||
            (IPAddress.TryParse(Uri.Host, out IPAddress? address) && IPAddress.IsLoopback(address));
        _isKept = inherited is not null || sockets?.TryKeep(_server.Uri, _server.SocketHandle) == true;
    }

    public NbdUri Uri => _server.Uri;

    /// <summary>True when clients of this machine alone reach it.</summary>
    public bool IsOfThisMachine { get; }

    public Nbd.Tls.TlsServerOptions? Tls { get; }

    /// <summary>The permissions and the group of a unix socket's file; null for TCP.</summary>
    public SocketAccess? Access => _server.Access;

    public IReadOnlyList<DiskExport> Exports => _exports;

    /// <summary>Listens at an address: with the socket that is kept for it, or with a new one.</summary>
    public static Listener Open(ExportOptions options, IListenSockets? sockets)
    {
        NbdUri uri = options.ListenUri;
        NbdServerOptions serverOptions = new()
        {
            Tls = options.Tls,
            AllowInsecure = options.AllowInsecure,
            SocketMode = options.SocketMode,
            SocketGroup = options.SocketGroup,
            CanLeaveSocket = sockets is not null,
        };

        // Before a socket is taken: a mistake of the user's is no fault of it.
        NbdServer.Check(uri, serverOptions);
        if (sockets?.Take(uri) is { } inherited)
        {
            try
            {
                return new Listener(uri, serverOptions, sockets, inherited);
            }
            catch (BlockException e)
            {
                sockets.Remove(uri);
                if (e.Kind != BlockErrors.NotFound)
                {
                    throw;
                }

                // Its file was removed: no client reaches it, and a new one can have the path.
            }
        }

        return new Listener(uri, serverOptions, sockets, inherited: null);
    }

    public void Add(DiskExport export) => _exports = [.. _exports, export];

    /// <summary>Takes an export away and ends the connections to it.</summary>
    public void Remove(DiskExport export)
    {
        _exports = [.. _exports.Where(other => other != export)];
        _server.EndConnections(export.Owns);
    }

    public int CountConnections(string exportName) => _server.CountConnections(name => name == exportName);

    public int CountConnections(DiskExport export) => _server.CountConnections(export.Owns);

    /// <summary>The memory that its connections share.</summary>
    public IEnumerable<MetricReading> ReadMetrics()
    {
        MetricOwner owner = new(("address", Uri.ToString()));
        yield return owner.Read(FleeceMetrics.NbdMemoryBytes, _server.MemoryUsedBytes);
        yield return owner.Read(FleeceMetrics.NbdMemoryLimitBytes, _server.MemoryLimitBytes);
    }

    /// <inheritdoc/>
    public IReadOnlyList<NbdExport> List() => [.. _exports.SelectMany(export => export.List())];

    /// <inheritdoc/>
    /// <remarks>The default export is the only disk, or where there is none the only snapshot; so it stays the same when sessions
    /// of the disk begin.</remarks>
    public NbdExport? Find(string name)
    {
        if (name.Length != 0)
        {
            return _exports.Select(export => export.Find(name)).FirstOrDefault(found => found is not null);
        }

        NbdExport[] disks = [.. _exports.Select(export => export.Find(export.Name)).OfType<NbdExport>()];
        IReadOnlyList<NbdExport> candidates = disks.Length != 0 ? disks : List();
        return candidates.Count == 1 ? candidates[0] : null;
    }

    /// <summary>Accepts no more and leaves the socket, where it is kept, to the next process. Idempotent.</summary>
    public void LeaveSocket()
    {
        if (_isKept)
        {
            _isLeft = true;
            _server.LeaveSocket();
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        if (_isKept && !_isLeft)
        {
            _sockets!.Remove(Uri);
        }

        return _server.DisposeAsync();
    }
}
