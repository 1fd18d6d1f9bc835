// SPDX-License-Identifier: MIT
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

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

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
