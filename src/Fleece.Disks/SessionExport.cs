// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Contexts;
using Fleece.Disks.Storage;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks;

/// <summary>The snapshot of a disk of this process as an NBD server offers it.</summary>
internal static class SessionExport
{
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

    /// <summary>What the server tells of the snapshot of a session, or of one of its consumers; null where a name can't be told.</summary>
    public static ExportIdentity? IdentityOf(Session session, string? consumer)
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

    private static NbdExport Of(
        Session session, string? consumer, string name, BlockDevice snapshot, SnapshotAccess access, WholeClusterDiscard? discard) => new()
        {
            Name = name,
            Description = $"disk {session.Disk.Name} at {session.StartedAt:O}",
            Device = snapshot,
            Discard = discard is null ? null : discard.DiscardAsync,
            Access = discard is null ? ExportAccess.Read : ExportAccess.Consume,
            Contexts = [new SnapshotAllocationContext(snapshot, access), new AccessContext(snapshot, access), .. BitmapContexts(session)],
            Identity = IdentityOf(session, consumer)?.ToPairs() ?? [],
            Ended = session.Ended,
        };

    private static IEnumerable<IStatusContext> BitmapContexts(Session session) =>
        session is { Disk.IsShared: false, PinnedBits: { } bits } && PrintableText.IsPrintable(session.Bitmap!.ExactName)
            ? [new PinnedBitmapContext(session.Bitmap!.Name, bits)]
            : [];
}
