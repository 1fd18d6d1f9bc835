// SPDX-License-Identifier: MIT
using Fleece.Hosting.Control;
using Fleece.Hosting.Paths;
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about guests that a QEMU runs.</summary>
internal sealed class ClientGuests(ConnectedClient client, IGuestControl guests, PathRules rules) : IGuestControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<QemuDiskInfo>> ListGuestDisksAsync(string qmpSocketPath, CancellationToken cancellationToken) =>
        client.AskAsync(
            token =>
            {
                rules.CheckSocket(qmpSocketPath);
                return guests.ListGuestDisksAsync(qmpSocketPath, token);
            },
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<string>> CleanUpGuestAsync(
        string qmpSocketPath, bool isForced, CancellationToken cancellationToken) => client.ChangeAsync(
            $"clean up the guest of {qmpSocketPath}{(isForced ? " by force" : string.Empty)}",
            (_, token) =>
            {
                rules.CheckSocket(qmpSocketPath);
                return guests.CleanUpGuestAsync(qmpSocketPath, isForced, token);
            },
            cancellationToken);
}
