// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fleece.Qemu.Qmp;

/// <summary>A monitor that takes commands.</summary>
/// <remarks>Threading. One command at a time is in flight; callers on several threads wait for each other.</remarks>
internal interface IQmpChannel
{
    /// <summary>The socket, for messages.</summary>
    string SocketPath { get; }

    /// <summary>The version in the greeting.</summary>
    QemuVersion Version { get; }

    /// <summary>The user of the process that began to listen: QEMU's, unless QEMU changed its user afterwards (-runas) or was handed the
    /// socket. Null where the system does not tell.</summary>
    uint? PeerUserId { get; }

    /// <summary>Runs a command.</summary>
    /// <param name="command">Its name, for example "query-block".</param>
    /// <param name="arguments">Its arguments; null for none.</param>
    /// <param name="cancellationToken">Ends the wait. A command that was sent may still be run.</param>
    /// <returns>The member "return" of the answer.</returns>
    /// <exception cref="Fleece.Block.BlockException"><see cref="QemuErrors.CommandRefused"/> with QEMU's class and description,
    /// <see cref="QemuErrors.MonitorBusy"/>, <see cref="QemuErrors.NotQmp"/> or <see cref="QemuErrors.QemuGone"/>.</exception>
    ValueTask<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken);

    /// <summary>Waits for an event that came, or comes, after the last command was sent.</summary>
    /// <param name="name">The event, for example "BLOCK_EXPORT_DELETED".</param>
    /// <param name="isWanted">Looks at its data.</param>
    /// <param name="timeout">How long to wait.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>False when it did not come in time.</returns>
    ValueTask<bool> WaitForEventAsync(
        string name, Func<JsonElement, bool> isWanted, TimeSpan timeout, CancellationToken cancellationToken);
}
