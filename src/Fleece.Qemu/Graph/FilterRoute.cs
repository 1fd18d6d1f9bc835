// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>How a filter gets under a device.</summary>
internal enum FilterRoute
{
    /// <summary>The device's property "drive" names the filter.</summary>
    QomSet,

    /// <summary>A backup job with sync=none brings its own filter, for what QEMU has no QOM path of.</summary>
    BackupJob,
}

/// <summary>Which disks can be fleeced, and how.</summary>
internal static class FilterRoutes
{
    /// <summary>QEMU's least unit of copying. It takes the target's clusters where those are larger; a raw file has none.</summary>
    public const int LeastClusterBytes = 64 * 1024;

    private const string OnCopyError = "on-cbw-error";

    private static readonly string[] Options = ["bitmap", OnCopyError, "cbw-timeout", "min-cluster-size"];

    /// <summary>Chooses the way.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="schema">What this QEMU can do.</param>
    /// <param name="version">Its version, for its known faults.</param>
    /// <param name="obstacle">Why there is none: a clause that follows the disk's name.</param>
    /// <returns>Null where there is none.</returns>
    public static FilterRoute? Find(QemuDisk disk, QmpSchema schema, QemuVersion version, out string? obstacle)
    {
        obstacle = ObstacleOf(disk, schema, version);
        return obstacle is not null ? null : disk.Reply.QomPath is null ? FilterRoute.BackupJob : FilterRoute.QomSet;
    }

    /// <summary>The way of a request.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.DeviceUnsuitable"/> or <see cref="QemuErrors.FeatureMissing"/>.</exception>
    public static FilterRoute Check(FleecingRequest request, QmpSchema schema, QemuMonitor monitor)
    {
        FilterRoute route = Find(request.Disk, schema, monitor.Version, out string? obstacle)
            ?? throw Refused(QemuErrors.DeviceUnsuitable, request.Disk, obstacle!, monitor);
        if (route == FilterRoute.BackupJob && LackOfJob(request, schema) is { } lack)
        {
            throw Refused(
                QemuErrors.FeatureMissing,
                request.Disk,
                $"is no device that QEMU names, so a backup job fleeces it, and QEMU {monitor.Version}'s jobs {lack}",
                monitor);
        }

        return route;
    }

    /// <summary>The options of the filter that a session can use, by QEMU's names.</summary>
    public static IReadOnlyList<string> FeaturesOf(FilterRoute? route, QmpSchema schema) =>
        [.. Options.Where(option => route == FilterRoute.BackupJob
            ? option == OnCopyError && schema.HasMember("blockdev-backup", OnCopyError)
            : schema.HasDriverOption("copy-before-write", option))];

    // A job makes its filter itself, and passes it one option: QEMU's "BlockdevBackup". Its unit of copying is the least one, because a raw
    // file has no clusters.
    private static string? LackOfJob(FleecingRequest request, QmpSchema schema)
    {
        if (request.OnCopyError == CopyErrorPolicy.BreakSnapshot && !schema.HasMember("blockdev-backup", OnCopyError))
        {
            return "fail the guest's write when a copy fails. Ask for -OnCopyError BreakGuestWrite";
        }

        if (request.CopyTimeout is not null)
        {
            return "let the guest's write wait for a copy as long as it takes. Leave -CopyTimeout out";
        }

        return request.GranuleSizeBytes is null or LeastClusterBytes
            ? null
            : $"copy {LeastClusterBytes} bytes at a time. Leave -GranuleSizeBytes out";
    }

    private static string? ObstacleOf(QemuDisk disk, QmpSchema schema, QemuVersion version)
    {
        if (disk.Reply.NodeName is null)
        {
            return "has no medium";
        }

        // A filter of a session is not the disk's own node.
        if (disk.Reply.NodeName != disk.Node?.Name && NodeNames.TryParse(disk.Reply.NodeName, out string? session, out _, out _))
        {
            return $"is in the session {session} already. Stop that one first";
        }

        if (disk.Node is not { } node)
        {
            return "lies on a node that QEMU does not list";
        }

        if (node.IsReadOnly)
        {
            return "is read-only, so nothing changes that a session would have to keep. Copy its image";
        }

        if (!schema.HasDriverOption("copy-before-write", "bitmap") || !schema.HasDriverOption("snapshot-access", "file"))
        {
            return $"is of QEMU {version}, which has no snapshots by copy-before-write. QEMU 7.1 and later have";
        }

        // QEMU 7.2.22 ends on "nbd_blockdev_client_closed: Assertion `qemu_in_main_thread() && nbd_server' failed" when a client leaves an
        // export that a thread serves, and 10.0.13 does not. The versions between were not tried.
        return disk.IoThread is { } thread && version.IsBefore(10, 0)
            ? $"is served by the thread '{thread}', and QEMU {version} ends when a client leaves an export of such a disk. Take the " +
              "device's iothread away, or use QEMU 10.0 or later"
            : null;
    }

    private static BlockException Refused(string kind, QemuDisk disk, string obstacle, QemuMonitor monitor) => new(
        kind, $"'{disk.Device}' of the guest at '{monitor.SocketPath}' {obstacle}.", monitor.SocketPath);
}
