// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary>A unix socket of one user's own, at which disks and snapshots are read and written over NBD.</summary>
/// <remarks>
/// <para>"disk/MOUNTID" is a live disk, "snapshot/INSTANTID" the snapshot of a session, and "snapshot/INSTANTID/CONSUMER" the same for one
/// of its consumers. Nothing is listed, and a name that was not offered is unknown. An offer ends with its disk or session, and so do the
/// connections to it. Clients here are no guests of a disk: they do not keep it from being dismounted. They are Fleece's, so the kinds
/// of errors are told too.</para>
/// <para>Threading. All members are safe from any thread. Ownership. It owns the socket and its file, not the disks.</para>
/// </remarks>
internal sealed class PrivateExports : IExportDirectory, IAsyncDisposable
{
    // A copy reads 1 MiB at a time. A reply that fits costs the server one send and the client one receive, where the system's own 208 KiB
    // have both wait for each other five times.
    private const int SendBufferBytes = (1024 + 64) * 1024;

    private readonly ConcurrentDictionary<string, Offered> _offers = new(StringComparer.Ordinal);
    private readonly NbdServer _server;

    private PrivateExports(string socketPath, UnixFileMode mode, string? group) => _server = NbdServer.Listen(
        NbdUri.Parse($"nbd+unix:///?socket={Uri.EscapeDataString(socketPath)}"),
        this,
        new NbdServerOptions { SocketMode = mode, SocketGroup = group, SendBufferBytes = SendBufferBytes });

    /// <summary>Clients that are connected now.</summary>
    public int ConnectionCount => _server.ConnectionCount;

    /// <summary>Starts to listen, with nothing on offer.</summary>
    /// <param name="socketPath">The absolute path of the socket.</param>
    /// <param name="mode">The permissions of its file.</param>
    /// <param name="group">The group of its file, by name or number; null for the one that new files get.</param>
    /// <exception cref="Fleece.Block.BlockException">As <see cref="NbdServer.Listen"/>.</exception>
    public static PrivateExports Create(string socketPath, UnixFileMode mode, string? group) => new(socketPath, mode, group);

    /// <summary>Offers a disk for reading and, unless it is read-only, for writing.</summary>
    /// <returns>Its address.</returns>
    public NbdUri Offer(Disk disk)
    {
        ArgumentNullException.ThrowIfNull(disk);
        return Offer(
            $"disk/{disk.MountId:D}",
            new Offered(name => NbdExports.Of(disk, name, isReadOnly: false, guestCount: null), Discards: false, disk.Ended));
    }

    /// <summary>Offers the snapshot of a session. An offer with discards stays one.</summary>
    /// <param name="session">The session.</param>
    /// <param name="consumer">The name of the consumer whose view it is; null for none.</param>
    /// <param name="discards">True when clients may discard. Where the session counts consumers, each view has its own discards, and the
    /// snapshot itself has none.</param>
    /// <returns>Its address.</returns>
    /// <exception cref="Fleece.Block.BlockException"><see cref="DiskErrors.ConsumerUnknown"/>.</exception>
    public NbdUri Offer(IRunningSession session, string? consumer, bool discards)
    {
        ArgumentNullException.ThrowIfNull(session);
        string snapshot = $"snapshot/{session.InstantId:D}";
        string? view = consumer is null ? null : session.GetSource(consumer, discards).Consumer;
        return Offer(
            view is null ? snapshot : $"{snapshot}/{view}",
            new Offered(name => session.ExportAs(view, name, !discards), discards, session.Ended));
    }

    /// <inheritdoc/>
    public IReadOnlyList<NbdExport> List() => [];

    /// <inheritdoc/>
    public NbdExport? Find(string name) =>
        _offers.TryGetValue(name, out Offered? offered) && !offered.Ended.IsCancellationRequested
            ? offered.Export(name) with { TellsKinds = true }
            : null;

    /// <summary>Ends all connections and removes the socket. Idempotent.</summary>
    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private NbdUri Offer(string name, Offered offered)
    {
        foreach ((string other, Offered earlier) in _offers)
        {
            if (earlier.Ended.IsCancellationRequested)
            {
                _offers.TryRemove(other, out _);
            }
        }

        _offers.AddOrUpdate(name, offered, (_, earlier) => earlier.Discards ? earlier : offered);
        return _server.Uri.WithExport(name);
    }

    private sealed record Offered(Func<string, NbdExport> Export, bool Discards, CancellationToken Ended);
}
