// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Sessions.Reading;

/// <summary>What ties backups of one disk together: which instant a snapshot shows, and which one it counts from.</summary>
/// <param name="Id">The instant. It becomes the identity of the backup that shows it.</param>
/// <param name="DiskName">The disk.</param>
/// <param name="BitmapName">The bitmap that the session pinned; null for none.</param>
/// <param name="BaselineId">The instant that the bitmap counts from; null when the snapshot shows the whole disk.</param>
/// <param name="Ranges">What the snapshot was limited to when it began; null for the whole disk.</param>
public sealed record SnapshotIdentity(
    Guid Id, string DiskName, string? BitmapName, Guid? BaselineId, IReadOnlyList<BlockRange>? Ranges)
{
    /// <summary>The identity of a snapshot; a new one for what no session of this process made.</summary>
    public static SnapshotIdentity Of(ISnapshotSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Identity ??
            new SnapshotIdentity(Guid.NewGuid(), Storage.NameOf(source.Id), BitmapName: null, BaselineId: null, Ranges: null);
    }
}
