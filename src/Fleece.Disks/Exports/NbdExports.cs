// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary>Live disks as an NBD server offers them. They are made anew for every client, so each sees the bitmaps of its time.
/// </summary>
internal static class NbdExports
{
    /// <summary>The live disk.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="name">The export's name.</param>
    /// <param name="isReadOnly">True to refuse writes to a disk that takes them.</param>
    /// <param name="guestCount">How many clients use the disk; null to leave it untold.</param>
    /// <param name="checkDurability">See <see cref="NbdExport.CheckDurability"/>; null for clients that are no guests.</param>
    /// <returns>An export that ends with the disk.</returns>
    public static NbdExport Of(Disk disk, string name, bool isReadOnly, int? guestCount, Action? checkDurability = null) => new()
    {
        Name = name,
        Description = $"disk {disk.Name}",
        Device = disk.Device,
        Access = isReadOnly || disk.IsReadOnly ? ExportAccess.Read : ExportAccess.Write,
        CheckDurability = isReadOnly || disk.IsReadOnly ? null : checkDurability,
        Contexts = [new AllocationContext(disk.Device), new AllocationDepthContext(disk), .. BitmapContexts(disk)],
        Identity = ExportIdentities.Of(disk, guestCount).ToPairs(),
        Ended = disk.Ended,
    };

    // Those of a shared disk miss what others write.
    private static IEnumerable<IStatusContext> BitmapContexts(Disk disk) => disk is { IsShared: false, Bitmaps.IsUsable: true }
        ? disk.Bitmaps.All.Where(IsOffered).Select(bitmap => new BitmapContext(disk, bitmap))
        : [];

    // The name of a stranger's bitmap would reach the client's terminal as it is.
    private static bool IsOffered(Bitmap bitmap) => bitmap.State != BitmapState.Untrusted && PrintableText.IsPrintable(bitmap.ExactName);
}
