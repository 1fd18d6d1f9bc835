// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Bitmaps;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary>Disks and snapshots as an NBD server offers them. They are made anew for every client, so each sees the bitmaps of its time.
/// </summary>
internal static class NbdExports
{
    /// <summary>The live disk.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="name">The export's name.</param>
    /// <param name="isReadOnly">True to refuse writes to a disk that takes them.</param>
    /// <param name="guestCount">How many clients use the disk; null to leave it untold.</param>
    /// <returns>An export that ends with the disk.</returns>
    public static NbdExport Of(Disk disk, string name, bool isReadOnly, int? guestCount) => new()
    {
        Name = name,
        Description = $"disk {disk.Name}",
        Device = disk.Device,
        Access = isReadOnly || disk.IsReadOnly ? ExportAccess.Read : ExportAccess.Write,
        Contexts = [new AllocationContext(disk.Device), new AllocationDepthContext(disk), .. BitmapContexts(disk)],
        Identity = ExportIdentities.Of(disk, guestCount).ToPairs(),
        Ended = disk.Ended,
    };

    /// <summary>The snapshot of a session. Where the session counts consumers, it can't be discarded from.</summary>
    /// <param name="session">The session.</param>
    /// <param name="name">The export's name.</param>
    /// <param name="isReadOnly">True to refuse discards.</param>
    /// <returns>An export that ends with the session.</returns>
    public static NbdExport Of(Session session, string name, bool isReadOnly) => Of(
        session,
        consumer: null,
        name,
        session.Snapshot,
        session.Point.Snapshot,
        isReadOnly || session.Consumers.Count != 0 ? null : session.ClusterDiscard);

    /// <summary>The snapshot as one of the session's consumers sees it.</summary>
    /// <inheritdoc cref="Of(Session, string, bool)"/>
    public static NbdExport Of(SessionConsumer consumer, string name, bool isReadOnly) => Of(
        consumer.Session,
        consumer.Name,
        name,
        consumer.Snapshot,
        consumer.Access,
        isReadOnly ? null : consumer.ClusterDiscard);

    private static NbdExport Of(
        Session session, string? consumer, string name, BlockDevice snapshot, SnapshotAccess access, WholeClusterDiscard? discard) => new()
        {
            Name = name,
            Description = $"disk {session.Disk.Name} at {session.StartedAt:O}",
            Device = snapshot,
            Discard = discard is null ? null : discard.DiscardAsync,
            Access = discard is null ? ExportAccess.Read : ExportAccess.Consume,
            Contexts = [new SnapshotAllocationContext(snapshot, access), new AccessContext(snapshot, access), .. BitmapContexts(session)],
            Identity = ExportIdentities.Of(session, consumer)?.ToPairs() ?? [],
            Ended = session.Ended,
        };

    // Those of a shared disk miss what others write.
    private static IEnumerable<IStatusContext> BitmapContexts(Disk disk) => disk is { IsShared: false, Bitmaps.IsUsable: true }
        ? disk.Bitmaps.All.Where(IsOffered).Select(bitmap => new BitmapContext(disk, bitmap))
        : [];

    private static IEnumerable<IStatusContext> BitmapContexts(Session session) =>
        session is { Disk.IsShared: false, PinnedBits: { } bits } && PrintableText.IsPrintable(session.Bitmap!.ExactName)
            ? [new PinnedBitmapContext(session.Bitmap!.Name, bits)]
            : [];

    // The name of a stranger's bitmap would reach the client's terminal as it is.
    private static bool IsOffered(Bitmap bitmap) => bitmap.State != BitmapState.Untrusted && PrintableText.IsPrintable(bitmap.ExactName);
}
