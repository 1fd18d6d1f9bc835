// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>The disks of a guest, as QEMU described them a moment ago.</summary>
internal sealed class GuestDisks
{
    private GuestDisks(string socketPath, string? guest, IReadOnlyList<QemuDisk> disks, string? agentSocketPath) =>
        (SocketPath, Guest, Disks, AgentSocketPath) = (socketPath, guest, disks, agentSocketPath);

    /// <summary>The monitor's socket.</summary>
    public string SocketPath { get; }

    /// <summary>The guest's name; null where it has none.</summary>
    public string? Guest { get; }

    /// <summary>The disks, drives without a medium too, in QEMU's order. The node of a disk that a session has put a filter under is the
    /// one below the filter, which has the bitmaps.</summary>
    public IReadOnlyList<QemuDisk> Disks { get; }

    /// <summary>The socket of the guest's agent; null where QEMU has none for it.</summary>
    public string? AgentSocketPath { get; }

    /// <summary>Asks QEMU.</summary>
    public static async ValueTask<GuestDisks> QueryAsync(QemuMonitor monitor, CancellationToken cancellationToken)
    {
        string? guest = await monitor.QueryNameAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<QemuDeviceReply> devices = await monitor.QueryDevicesAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<string, QemuNodeReply> nodes = (await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
            .ToDictionary(node => node.Name, StringComparer.Ordinal);
        HashSet<string> filters =
            [.. nodes.Values.Select(Part.Of).OfType<Part>().Where(part => part.Kind == Parts.Filter).Select(part => part.Name)];
        BlockEdges? edges = devices.Any(device => filters.Contains(device.NodeName ?? string.Empty))
            ? await BlockEdges.QueryAsync(monitor, cancellationToken).ConfigureAwait(false)
            : null;
        bool hasThreads = await IoThreads.ExistAsync(monitor, cancellationToken).ConfigureAwait(false);
        List<QemuDisk> disks = [];
        foreach (QemuDeviceReply device in devices)
        {
            string? nodeName = device.NodeName is { } under && filters.Contains(under) ? edges!.FileOf(under) : device.NodeName;
            string? thread = hasThreads && device.QomPath is { } qdev
                ? await IoThreads.FindAsync(monitor, QomProperties.PathOf(qdev), cancellationToken).ConfigureAwait(false)
                : null;
            QemuNodeReply? node = nodeName is null ? null : nodes.GetValueOrDefault(nodeName);
            disks.Add(new QemuDisk(guest, NameOf(device, nodeName), device, node, thread));
        }

        string? agent = await AgentSockets.FindAsync(monitor, cancellationToken).ConfigureAwait(false);
        return new GuestDisks(monitor.SocketPath, guest, disks, agent);
    }

    /// <summary>The disk of a name: the device's id, else its backend's name, its QOM path or its node's name.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.DeviceUnknown"/>, which names the devices.</exception>
    public QemuDisk Find(string device)
    {
        Func<QemuDisk, string?>[] kinds =
        [
            disk => disk.Device,
            disk => disk.Reply.BackendName,
            disk => disk.Reply.QomPath,
            disk => disk.Node?.Name,
        ];
        foreach (Func<QemuDisk, string?> kind in kinds)
        {
            switch (Disks.Where(disk => kind(disk) == device).Take(2).ToArray())
            {
                case [{ } found]:
                    return found;
                case [_, _]:
                    throw new BlockException(
                        QemuErrors.DeviceUnknown,
                        $"The guest at '{SocketPath}' has several devices '{device}'. Name the one that is meant by its QOM path or its " +
                        "node-name, as Get-FleeceQemuDisk shows them.",
                        SocketPath);
            }
        }

        throw new BlockException(
            QemuErrors.DeviceUnknown,
            $"The guest at '{SocketPath}' has no disk '{device}'. " +
            (Disks.Count == 0 ? "It has none at all." : $"It has {string.Join(", ", Disks.Select(disk => $"'{disk.Device}'"))}."),
            SocketPath);
    }

    // "virtio0" of "/machine/peripheral/virtio0/virtio-backend".
    private static string NameOf(QemuDeviceReply device, string? nodeName)
    {
        string path = device.QomPath is { } qdev ? QomProperties.PathOf(qdev) : string.Empty;
        return path.StartsWith(QomProperties.Peripherals, StringComparison.Ordinal)
            ? path[QomProperties.Peripherals.Length..].Split('/')[0]
            : device.BackendName is { Length: > 0 } backend ? backend
            : nodeName ?? path;
    }
}
