// SPDX-License-Identifier: MIT
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Control;

/// <summary>Requests about guests that a QEMU runs whose disks are its own.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IGuestControl
{
    /// <summary>The disks of a guest.</summary>
    /// <param name="qmpSocketPath">The QMP socket of its QEMU.</param>
    /// <param name="cancellationToken">Ends the request.</param>
    ValueTask<IReadOnlyList<QemuDiskInfo>> ListGuestDisksAsync(string qmpSocketPath, CancellationToken cancellationToken);

    /// <summary>Takes out of a QEMU all that sessions of Fleece have added to it.</summary>
    /// <param name="qmpSocketPath">The QMP socket.</param>
    /// <param name="isForced">True to end sessions too whose process seems to live; those of this owner are ended without success.</param>
    /// <param name="cancellationToken">Ends the request.</param>
    /// <returns>A sentence for each thing that was taken out.</returns>
    ValueTask<IReadOnlyList<string>> CleanUpGuestAsync(string qmpSocketPath, bool isForced, CancellationToken cancellationToken);
}
