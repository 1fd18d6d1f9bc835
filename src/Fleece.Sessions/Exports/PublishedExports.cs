// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Sessions.Exports;

/// <summary>The disks of this process that are published over NBD.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. It owns the listeners, not the disks.</remarks>
#pragma warning disable CA1001 // Lives as long as the process; the lock has no handle.
public sealed class PublishedExports
{
    private readonly SemaphoreSlim _lock = new(1, 1);
    private readonly Dictionary<string, Listener> _listeners = [];
    private volatile DiskExport[] _all = [];

    /// <summary>All exports, in the order they were published.</summary>
    public IReadOnlyList<DiskExport> All => _all;

    /// <summary>Publishes a disk; clients can connect when this returns.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ExportNameInUse"/>,
    /// <see cref="BlockErrorKind.InvalidArgument"/>, or why the address can't be used.</exception>
    public async ValueTask<DiskExport> PublishAsync(
        Disk disk, ExportOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        string name = options.Name ?? (options.ListenUri.ExportName.Length != 0 ? options.ListenUri.ExportName : disk.Name);
        await _lock.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            string address = AddressOf(options.ListenUri);
            bool isShared = _listeners.TryGetValue(address, out Listener? listener);
            if (isShared)
            {
                CheckShared(listener!, name, options);
            }
            else
            {
                listener = new Listener(options);
                _listeners.Add(AddressOf(listener.Uri), listener);
            }

            DiskExport export = new(listener!, disk, name, options);
            listener!.Add(export);
            _all = [.. _all, export];
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
        await _lock.WaitAsync().ConfigureAwait(false);
        try
        {
            if (!_all.Contains(export))
            {
                return;
            }

            _all = [.. _all.Where(other => other != export)];
            export.Listener.Remove(export);
            if (export.Listener.Exports.Count == 0)
            {
                _listeners.Remove(AddressOf(export.Listener.Uri));
                await export.Listener.DisposeAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _lock.Release();
        }
    }

    /// <summary>Takes all exports of a disk away.</summary>
    public async ValueTask UnpublishAsync(Disk disk)
    {
        foreach (DiskExport export in _all.Where(export => export.Disk == disk))
        {
            await UnpublishAsync(export).ConfigureAwait(false);
        }
    }

    private static void CheckShared(Listener listener, string name, ExportOptions options)
    {
        if (options.Tls is not null && options.Tls.Certificate.Thumbprint != listener.Tls?.Certificate.Thumbprint)
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                $"'{listener.Uri}' listens with another certificate already. Leave the certificate out, or choose another address.");
        }

        if (listener.Exports.Any(export => export.Owns(name) || name == export.Name))
        {
            throw new BlockException(
                BlockErrorKind.ExportNameInUse,
                $"'{listener.Uri}' has an export named '{name}' already. Give another name with -ExportName.");
        }
    }

    // Two ways of writing one address would make two listeners, and the second finds it in use.
    private static string AddressOf(NbdUri uri) => uri.IsUnix
        ? Path.GetFullPath(uri.SocketPath)
        : $"{uri.Host.ToUpperInvariant()}:{uri.Port}";
}
