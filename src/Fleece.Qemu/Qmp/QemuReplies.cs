// SPDX-License-Identifier: MIT
namespace Fleece.Qemu.Qmp;

/// <summary>A device of the guest with a medium, or room for one; of query-block.</summary>
/// <param name="BackendName">The name of its block backend; empty for none.</param>
/// <param name="QomPath">Where the device lies among QEMU's objects, for example "/machine/peripheral/virtio0/virtio-backend"; null where
/// QEMU does not tell.</param>
/// <param name="IsRemovable">True for a drive whose medium can be changed.</param>
/// <param name="NodeName">The block node under it; null without a medium.</param>
internal sealed record QemuDeviceReply(string BackendName, string? QomPath, bool IsRemovable, string? NodeName);

/// <summary>A node of QEMU's block graph; of query-named-block-nodes.</summary>
/// <param name="Name">Its node-name; one that QEMU made itself begins with '#'.</param>
/// <param name="Driver">Its driver, for example "qcow2".</param>
/// <param name="IsReadOnly">True when it takes no writes.</param>
/// <param name="SizeBytes">Its virtual size.</param>
/// <param name="FilePath">The file of its image; null where it has none. For a node over no file it is QEMU's description, such as
/// "json:{...}" or an address.</param>
/// <param name="ClusterSizeBytes">The image's cluster size; null where QEMU does not tell.</param>
/// <param name="Compat">The qcow2 version, "0.10" or "1.1"; null for other drivers.</param>
/// <param name="Bitmaps">Its named dirty bitmaps.</param>
internal sealed record QemuNodeReply(
    string Name,
    string Driver,
    bool IsReadOnly,
    long SizeBytes,
    string? FilePath,
    int? ClusterSizeBytes,
    string? Compat,
    IReadOnlyList<QemuBitmapReply> Bitmaps);

/// <summary>A dirty bitmap with a name.</summary>
/// <param name="Name">Its name.</param>
/// <param name="GranularityBytes">Bytes of the disk for one bit.</param>
/// <param name="DirtyBytes">Bytes that may have changed.</param>
/// <param name="IsRecording">True when writes mark it.</param>
/// <param name="IsBusy">True when a job or an export uses it.</param>
/// <param name="IsPersistent">True when the image keeps it.</param>
/// <param name="IsInconsistent">True when QEMU was not ended properly while it recorded.</param>
internal sealed record QemuBitmapReply(
    string Name, long GranularityBytes, long DirtyBytes, bool IsRecording, bool IsBusy, bool IsPersistent, bool IsInconsistent);

/// <summary>An export; of query-block-exports.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Type">"nbd", "vhost-user-blk" or another.</param>
/// <param name="NodeName">The node that it exports.</param>
/// <param name="IsShuttingDown">True while clients keep it from ending.</param>
internal sealed record QemuExportReply(string Id, string Type, string NodeName, bool IsShuttingDown);

/// <summary>A job on block nodes; of query-block-jobs.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Type">"backup", "mirror" or another.</param>
/// <param name="Status">"running", "paused" or another.</param>
internal sealed record QemuJobReply(string Id, string Type, string Status);

/// <summary>A character device; of query-chardev.</summary>
/// <param name="Label">Its id.</param>
/// <param name="Filename">As QEMU writes it, for example "unix:/run/vm/qga.sock,server=on".</param>
internal sealed record QemuChardevReply(string Label, string Filename);

/// <summary>Whether the guest's processors run; of query-status.</summary>
/// <param name="IsRunning">True when they do.</param>
/// <param name="Status">"running", "paused", "io-error" or another.</param>
internal sealed record QemuStatusReply(bool IsRunning, string Status);
