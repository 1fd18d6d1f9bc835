// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Sessions;

/// <summary>Connections to the monitors of guests. A monitor serves one client at a time, so this process has one connection at a time to
/// each, and the others wait for their turn here.</summary>
/// <remarks>Threading. Safe from any thread.</remarks>
internal sealed class GuestMonitors
{
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _turns = new(StringComparer.Ordinal);

    /// <summary>Connects to a monitor.</summary>
    /// <param name="socketPath">The absolute path of its socket.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="Fleece.Block.BlockException">As <see cref="QmpConnection.ConnectAsync"/>.</exception>
    public async ValueTask<GuestMonitor> ConnectAsync(string socketPath, CancellationToken cancellationToken)
    {
        SemaphoreSlim turn = _turns.GetOrAdd(socketPath, _ => new SemaphoreSlim(1, 1));
        await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return new GuestMonitor(
                await QmpConnection.ConnectAsync(socketPath, QmpOptions.Default, cancellationToken).ConfigureAwait(false), turn);
        }
        catch
        {
            turn.Release();
            throw;
        }
    }
}

/// <summary>A connection to the monitor of a guest.</summary>
/// <remarks>Ownership. The caller disposes it, which lets the next client connect.</remarks>
internal sealed class GuestMonitor(QmpConnection connection, SemaphoreSlim turn) : IAsyncDisposable
{
    /// <summary>The commands.</summary>
    public QemuMonitor Commands { get; } = new(connection);

    /// <summary>What this QEMU can do.</summary>
    public ValueTask<QmpSchema> QuerySchemaAsync(CancellationToken cancellationToken) =>
        QmpSchema.QueryAsync(connection, cancellationToken);

    /// <summary>Ends the connection. Once.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await connection.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            turn.Release();
        }
    }
}
