// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Contexts;

/// <summary><c>qemu:dirty-bitmap:NAME</c> of a snapshot: 1 where the session's bitmap was marked at its instant.</summary>
internal sealed class PinnedBitmapContext(string name, DirtyBitmap bits) : IStatusContext
{
    public string Name { get; } = MetaContexts.QemuDirtyBitmap + name;

    public ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        new(DirtyExtents.Find(bits, offsetBytes, lengthBytes));
}

/// <summary>How a bitmap answers in extents.</summary>
internal static class DirtyExtents
{
    public static StatusExtent Find(DirtyBitmap bits, long offsetBytes, long lengthBytes)
    {
        BlockRange dirty = bits.NextDirty(offsetBytes, offsetBytes + lengthBytes);
        if (dirty.IsEmpty)
        {
            return new StatusExtent(lengthBytes, (uint)DirtyFlags.None);
        }

        return dirty.OffsetBytes > offsetBytes
            ? new StatusExtent(dirty.OffsetBytes - offsetBytes, (uint)DirtyFlags.None)
            : new StatusExtent(dirty.LengthBytes, (uint)DirtyFlags.Dirty);
    }
}
