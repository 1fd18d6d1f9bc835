// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Bitmaps;

/// <summary>One of a disk's bitmaps, as it was when the disk was asked.</summary>
/// <param name="Name">Its name, printable.</param>
/// <param name="ExactName">The name as it is stored, unique on the disk.</param>
/// <param name="ParentPath">The parent image that keeps it, printable; null for one of the disk's own.</param>
/// <param name="BaselineId">The instant that its bits count from; null for none.</param>
/// <param name="IsEnabled">True when it records changes, or its successor does while a session has pinned it.</param>
/// <param name="Fault">Why it can't be trusted; null when it can.</param>
/// <param name="QemuNode">The node that has it in the QEMU of a guest, which serves the disk; null where Fleece does.</param>
/// <param name="QemuDiskSizeBytes">The disk's size, where QEMU serves it: its bitmaps follow a new size. Null where Fleece serves it, which
/// distrusts a bitmap of another size.</param>
internal sealed record BitmapDescription(
    string Name, string ExactName, string? ParentPath, Guid? BaselineId, bool IsEnabled, string? Fault, string? QemuNode = null,
    long? QemuDiskSizeBytes = null);
