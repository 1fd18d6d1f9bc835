// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Reading;

/// <summary>How a snapshot that QEMU exports is read.</summary>
/// <param name="Uri">The export.</param>
/// <param name="Id">The session, for messages.</param>
/// <param name="ClusterSizeBytes">The unit of copying: what is discarded is cut at its multiples.</param>
/// <param name="Bitmap">The bitmap that limits the snapshot, whose context the export has; null for the whole disk.</param>
/// <param name="Rules">What must be kept from QEMU because of its faults.</param>
/// <param name="OnCopyError">The loser of a copy that fails. Where it is the guest's write, QEMU never loses the snapshot.</param>
internal sealed record QemuSnapshotOptions(
    NbdUri Uri, string Id, int ClusterSizeBytes, string? Bitmap, QemuReadRules Rules, CopyErrorPolicy OnCopyError);

/// <summary>Requests that a snapshot export of some version of QEMU must not get.</summary>
/// <param name="ReadsOneClusterAtATime">True where a request that begins in a copied cluster and ends in another one is answered from the
/// guest's new data, reads and status queries alike: QEMU 7, mended by commit a4d5224c2cb6 of QEMU 8.0.</param>
/// <param name="RefusesOverlaps">True where two reads or status queries at a time for one range end QEMU, and the guest with it: before
/// 9.1.1, commit 6475155d5192.</param>
internal sealed record QemuReadRules(bool ReadsOneClusterAtATime, bool RefusesOverlaps)
{
    /// <summary>The rules of a version. All versions: discards are whole clusters (7.2 ends on others), and no request touches a range that
    /// is refused, for QEMU fails the whole request.</summary>
    public static QemuReadRules Of(QemuVersion version) => new(version.IsBefore(8, 0), version.IsBefore(9, 1, 1));
}
