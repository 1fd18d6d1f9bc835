// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Qemu;
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Local;

/// <summary>Guests of QEMUs on this machine, whose sessions run in this process.</summary>
internal sealed class LocalGuests(QemuGuests guests) : IGuestControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<QemuDiskInfo>> ListGuestDisksAsync(string qmpSocketPath, CancellationToken cancellationToken) =>
        guests.ListDisksAsync(qmpSocketPath, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<string>> CleanUpGuestAsync(
        string qmpSocketPath, bool isForced, CancellationToken cancellationToken) =>
        guests.CleanUpAsync(qmpSocketPath, isForced, cancellationToken);

    /// <summary>The guest that several references are of; null where they are disks of this process.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: they are of several guests, or of a guest and of this
    /// process, or none is named.</exception>
    public static string? GuestOf(IReadOnlyList<DiskReference> disks)
    {
        if (disks.Count == 0)
        {
            throw new BlockException(BlockErrors.InvalidArgument, "A session needs a disk, and none is named.");
        }

        string? qmpSocketPath = disks[0].QmpSocketPath;
        return disks.All(disk => disk.QmpSocketPath == qmpSocketPath) ? qmpSocketPath : throw new BlockException(
            BlockErrors.InvalidArgument,
            "Sessions of one instant are of disks of one guest, or of mounted disks, and these are of several: " +
            $"{string.Join(", ", disks.Select(disk => disk.Place))}. Start them one by one.");
    }
}
