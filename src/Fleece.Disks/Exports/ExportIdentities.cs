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
}
