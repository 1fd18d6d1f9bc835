// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Contexts;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary><c>qemu:dirty-bitmap:NAME</c> of a disk: 1 where the bitmap is marked now. A live bitmap may be marked further the next
/// moment.</summary>
internal sealed class BitmapContext(Disk disk, Bitmap bitmap) : IStatusContext
{
    public string Name { get; } = MetaContexts.QemuDirtyBitmap + bitmap.Name;

    public ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        // A bitmap may be found to be wrong, or be removed, after the client has connected. A parent's never changes.
        bitmap.CheckTrusted();
        return bitmap.IsOfParent || disk.Bitmaps.Find(bitmap.Name) == bitmap
            ? new ValueTask<StatusExtent>(DirtyExtents.Find(bitmap.Bits, offsetBytes, lengthBytes))
            : throw new BlockException(
                DiskErrors.BitmapUnknown, $"The bitmap '{bitmap.Name}' was removed. Connect again.", disk.Path);
    }
}
