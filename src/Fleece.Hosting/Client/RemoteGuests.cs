// SPDX-License-Identifier: MIT
using Fleece.Hosting.Control;
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Client;

/// <summary>Guests of QEMUs that a host reaches.</summary>
internal sealed class RemoteGuests(HostClient client) : IGuestControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<QemuDiskInfo>> ListGuestDisksAsync(string qmpSocketPath, CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<QemuDiskInfo>>(nameof(ListGuestDisksAsync), new { qmpSocketPath }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<string>> CleanUpGuestAsync(
        string qmpSocketPath, bool isForced, CancellationToken cancellationToken) =>
        client.ChangeAsync<IReadOnlyList<string>>(
            nameof(CleanUpGuestAsync),
            new { qmpSocketPath, isForced },
            cancellationToken,
            () => new("It may have been done or not. Cleaning up again is no harm."));
}
