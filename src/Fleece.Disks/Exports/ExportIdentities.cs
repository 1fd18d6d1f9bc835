// SPDX-License-Identifier: MIT
using Fleece.Disks.Storage;
using Fleece.Nbd;

namespace Fleece.Disks.Exports;

/// <summary>What this server tells of its exports.</summary>
internal static class ExportIdentities
{
    /// <summary>The live disk. That it is one is told whatever its name is.</summary>
    public static ExportIdentity Of(Disk disk, int? guestCount) => new()
    {
        IsSnapshot = false,
        DiskName = IdentityNames.CanTell(disk.Name) ? disk.Name : null,
        IsUnchanging = disk.Storage.IsUnchanging,
        GuestCount = guestCount,
    };

    /// <summary>The snapshot of a session, or of one of its consumers; null where a name can't be told.</summary>
    public static ExportIdentity? Of(Session session, string? consumer)
    {
        string?[] names = [session.Disk.Name, session.Name, consumer, session.Bitmap?.ExactName];
        return !names.All(name => name is null || IdentityNames.CanTell(name)) ? null : new ExportIdentity
        {
            IsSnapshot = true,
            DiskName = session.Disk.Name,
            SessionName = session.Name,
            Consumer = consumer,
            Instant = session.StartedAt,
            InstantId = session.InstantId,
            BitmapName = session.Bitmap?.ExactName,
            BaselineId = session.BaselineId,
            IsLimited = session is { BaselineId: null, IsLimited: true },
            IsShared = session.Disk.IsShared,
        };
    }
}
