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
    /// <param name="cancellationToken">Ends the wait. QEMU may still run a command that was sent, so the channel takes no further ones.
    /// </param>
    /// <returns>The member "return" of the answer.</returns>
    /// <exception cref="Fleece.Block.BlockException"><see cref="QemuErrors.CommandRefused"/>: <see cref="QmpRefusal.Of"/> has QEMU's
    /// class and description, and the channel goes on. <see cref="QemuErrors.MonitorBusy"/> when no answer came in time,
    /// <see cref="QemuErrors.NotQmp"/>, <see cref="QemuErrors.QemuGone"/>: the channel has ended, and further commands fail in the same
    /// way. <see cref="Fleece.Block.BlockErrors.Closed"/> after a command was cancelled and after the end of the channel.
    /// <see cref="Fleece.Block.BlockErrors.InvalidArgument"/> for a text that is no valid Unicode; nothing was sent.</exception>
    ValueTask<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken);

    /// <summary>Waits for an event that came, or comes, after the last command was sent. One that QEMU sent at that moment may count.
    /// </summary>
    /// <param name="name">The event, for example "BLOCK_EXPORT_DELETED".</param>
    /// <param name="isWanted">Looks at its data.</param>
    /// <param name="timeout">How long to wait.</param>
    /// <param name="cancellationToken">Ends the wait; the channel goes on.</param>
    /// <returns>False when it did not come in time.</returns>
    ValueTask<bool> WaitForEventAsync(
        string name, Func<JsonElement, bool> isWanted, TimeSpan timeout, CancellationToken cancellationToken);
}
