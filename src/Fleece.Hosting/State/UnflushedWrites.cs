// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Images.Journal;

namespace Fleece.Hosting.State;

/// <summary>Judges whether writes are lost that a host before had answered and no flush had followed, when it did not end in order.
/// </summary>
/// <remarks>The writes of a killed process are in the system's memory, and so in the image's file. Where the format keeps tables, a write
/// is lost all the same unless a journal has had its part of them. An image that was served has its journal beside it, also when it was
/// closed or an earlier start has replayed it, so one that is gone is a loss. The state says whether the image was served without one. A
/// journal that did not hold, the disk has noted by itself.</remarks>
internal static class UnflushedWrites
{
    /// <summary>Has the first flush of a guest fail where its writes may be lost.</summary>
    /// <param name="stored">The disk, as the host before has left it in the state.</param>
    /// <param name="disk">The storage of the disk that was opened.</param>
    public static void NoteIn(MountedDiskState stored, DiskStorage disk)
    {
        if (disk.IsReadOnly)
        {
            return;
        }

        if (disk.Format == ImageFormat.Raw && IsOfThisRun(stored.UnjournaledInBoot))
        {
            disk.LostWrites.Note(
                $"The system could not store what it had taken for '{disk.Path}' while a host before served it.", reachesThisMachine: true);
        }
        else if ((stored.UnjournaledInBoot == Guid.Empty || IsOfThisRun(stored.UnjournaledInBoot)) && HasTables(disk))
        {
            disk.LostWrites.Note(
                $"The host before did not end in order while it served '{disk.Path}', and tables of the image that it had not written " +
                "went with it.",
                reachesThisMachine: true);
        }

        if (IsOfThisRun(stored.ServedInBoot) && disk.Journal.MissingJournal is { } missing)
        {
            disk.LostWrites.Note(
                $"The host before did not end in order while it served '{disk.Path}', and {missing}. Tables of the image that it had not " +
                "written went with it.",
                reachesThisMachine: true);
        }

        // Empty, it is of a kill: an older Fleece noted no other loss in it.
        if (IsOfEarlierRun(stored.ServedInBoot) || (stored.UnjournaledInBoot != Guid.Empty && IsOfEarlierRun(stored.UnjournaledInBoot)))
        {
            disk.LostWrites.Note(
                $"The system stopped while a host served '{disk.Path}', and what its memory held went with it.", reachesThisMachine: false);
        }
    }

    /// <summary>The field of the state for a disk that is about to be served: <see cref="MountedDiskState.UnjournaledInBoot"/>.</summary>
    /// <param name="disk">The storage of the disk.</param>
    /// <param name="before">What it says of a loss that no guest has been told of; null for none.</param>
    public static Guid? UnjournaledBoot(DiskStorage disk, Guid? before = null) =>
        disk is { IsReadOnly: false, Format: not null, JournalFault: not null } or
        { IsReadOnly: false, Format: not null, LostWrites.IsUntoldHere: true }
        ? BootId.Current
        : before;

    /// <summary>A disk as the state has it while it is served: in this run of the system. A loss by the end of an earlier one stays in
    /// <see cref="MountedDiskState.UnjournaledInBoot"/>.</summary>
    /// <param name="disk">The disk, as the host before has left it in the state.</param>
    public static MountedDiskState InThisRun(MountedDiskState disk) => disk with
    {
        ServedInBoot = disk.Mount.IsReadOnly ? null : BootId.Current,
        UnjournaledInBoot = IsOfEarlierRun(disk.ServedInBoot) && disk.UnjournaledInBoot != Guid.Empty &&
            !BootId.IsThisRun(disk.UnjournaledInBoot ?? Guid.Empty) ? disk.ServedInBoot : disk.UnjournaledInBoot,
    };

    private static bool IsOfThisRun(Guid? boot) => boot is { } id && BootId.IsThisRun(id);

    private static bool IsOfEarlierRun(Guid? boot) => boot is { } id && !BootId.IsThisRun(id);

    private static bool HasTables(DiskStorage disk) => disk.Format is not null && (disk.JournalFault is not null ||
        (!disk.IsExport && File.Exists(FileNames.Beside(disk.Path, JournalLayout.Extension))));
}
