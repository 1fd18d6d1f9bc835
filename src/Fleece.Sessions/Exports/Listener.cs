// SPDX-License-Identifier: MIT
using Fleece.Nbd;
using Fleece.Nbd.Server;

namespace Fleece.Sessions.Exports;

/// <summary>One address with the disks that are published there.</summary>
/// <remarks>Threading. All members are safe from any thread; the list of exports is replaced, never changed.</remarks>
internal sealed class Listener : IExportDirectory, IAsyncDisposable
{
    private readonly NbdServer _server;
    private volatile DiskExport[] _exports = [];

    public Listener(ExportOptions options)
    {
        Tls = options.Tls;
        _server = NbdServer.Listen(
            options.ListenUri, this, new NbdServerOptions { Tls = options.Tls, AllowInsecure = options.AllowInsecure });
    }

    public NbdUri Uri => _server.Uri;

    public Nbd.Tls.TlsServerOptions? Tls { get; }

    public IReadOnlyList<DiskExport> Exports => _exports;

    public void Add(DiskExport export) => _exports = [.. _exports, export];

    /// <summary>Takes an export away and ends the connections to it.</summary>
    public void Remove(DiskExport export)
    {
        _exports = [.. _exports.Where(other => other != export)];
        _server.EndConnections(export.Owns);
    }

    public int CountConnections(string exportName) => _server.CountConnections(name => name == exportName);

    public int CountConnections(DiskExport export) => _server.CountConnections(export.Owns);

    /// <inheritdoc/>
    public IReadOnlyList<NbdExport> List() => [.. _exports.SelectMany(export => export.List())];

    /// <inheritdoc/>
    /// <remarks>The default export is the only one there is, or the only disk among snapshots.</remarks>
    public NbdExport? Find(string name)
    {
        if (name.Length != 0)
        {
            return _exports.Select(export => export.Find(name)).FirstOrDefault(found => found is not null);
        }

        NbdExport[] all = [.. List()];
        NbdExport[] disks = [.. all.Where(export => export.Access == ExportAccess.Write)];
        return all.Length == 1 ? all[0] : disks.Length == 1 ? disks[0] : null;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
