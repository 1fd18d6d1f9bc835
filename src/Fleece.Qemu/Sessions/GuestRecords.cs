// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Names;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Records;

namespace Fleece.Qemu.Sessions;

/// <summary>Guests' disks as users see them.</summary>
internal static class GuestRecords
{
    /// <summary>A disk.</summary>
    public static QemuDiskInfo Describe(
        QemuDisk disk, GuestDisks guest, QemuStatusReply status, QmpSchema schema, QemuVersion version)
    {
        FilterRoute? route = FilterRoutes.Find(disk, schema, version, out string? obstacle);
        return new QemuDiskInfo
        {
            Device = PrintableText.Of(disk.Device),
            Guest = PrintableText.Of(guest.Guest),
            Name = PrintableText.Of(disk.Name),
            NodeName = PrintableText.Of(disk.Node?.Name ?? disk.Reply.NodeName),
            Format = PrintableText.Of(disk.Node?.Driver),
            ImagePath = PrintableText.Of(disk.Node?.FilePath),
            SizeBytes = disk.Node?.SizeBytes ?? 0,
            IsReadOnly = disk.Node?.IsReadOnly ?? false,
            IsRemovable = disk.Reply.IsRemovable,
            IsGuestRunning = status.IsRunning,
            Obstacle = obstacle is null ? null : PrintableText.Of($"'{disk.Device}' {obstacle}."),
            Bitmaps = [.. (disk.Node?.Bitmaps ?? []).Select(Describe)],
            QemuVersion = version.ToString(),
            Features = FilterRoutes.FeaturesOf(route, schema),
            InsertedBy = route switch
            {
                FilterRoute.QomSet => "qom-set",
                FilterRoute.BackupJob => "blockdev-backup",
                _ => null,
            },
            AgentSocketPath = PrintableText.Of(guest.AgentSocketPath),
            QmpSocketPath = guest.SocketPath,
        };
    }

    private static QemuBitmapInfo Describe(QemuBitmapReply bitmap)
    {
        QemuBitmapName name = QemuBitmapName.Parse(bitmap.Name);
        return new QemuBitmapInfo
        {
            Name = PrintableText.Of(name.Name),
            QemuName = bitmap.Name,
            BaselineId = name.IsPending ? null : name.InstantId,
            GranularityBytes = bitmap.GranularityBytes,
            DirtyBytes = bitmap.DirtyBytes,
            IsRecording = bitmap.IsRecording,
            IsBusy = bitmap.IsBusy || name.IsPending,
            IsPersistent = bitmap.IsPersistent,
            IsInconsistent = bitmap.IsInconsistent,
        };
    }
}
