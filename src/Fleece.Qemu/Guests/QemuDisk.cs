// SPDX-License-Identifier: MIT
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>A disk of a guest as QEMU described it a moment ago.</summary>
/// <param name="Guest">The guest's name; null where it has none.</param>
/// <param name="Device">The name that users know the device by: its id, else that of its backend, else its node's.</param>
/// <param name="Reply">The device.</param>
/// <param name="Node">The node under it, which has its bitmaps; null without a medium.</param>
/// <param name="IoThread">The thread that serves it; null for QEMU's main loop.</param>
internal sealed record QemuDisk(string? Guest, string Device, QemuDeviceReply Reply, QemuNodeReply? Node, string? IoThread)
{
    /// <summary>The name that sessions and backups know the disk by: "GUEST.DEVICE", or the device's where the guest has none.</summary>
    public string Name => Guest is null ? Device : $"{Guest}.{Device}";

    /// <summary>True when the image keeps bitmaps over the end of QEMU: a qcow2 image of version 3.</summary>
    public bool HasPersistentBitmaps => Node is { Driver: "qcow2", Compat: not (null or "0.10") };
}
