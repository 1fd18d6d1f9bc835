// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Chain;
using Fleece.Images.Journal;
using Fleece.Nbd;

namespace Fleece.Disks.Storage;

/// <summary>The image or export that has a mounted disk's bytes, and what the disk may promise over it.</summary>
/// <remarks>
/// <para>Sessions and bitmaps see what goes through this mount and nothing else, so what they promise holds only where this process alone
/// writes to the disk.</para>
/// <para>Threading. All members are safe from any thread. Ownership. The disk owns the image.</para>
/// </remarks>
internal sealed class DiskStorage
{
    private readonly OpenedStorage _opened;
    private readonly bool _isSharingAccepted;
    private readonly IReadOnlyList<LossWatch> _watches;

    internal DiskStorage(
        string name,
        string path,
        ImageOpenOptions openedWith,
        OpenedStorage opened,
        bool isSharingAccepted,
        StorageCondition condition,
        IReadOnlyList<LossWatch> watches)
    {
        OpenedWith = openedWith;
        Name = name;
        Path = path;
        SizeBytes = opened.Node.Geometry.LengthBytes;
        IsReadOnly = opened.Node.Geometry.IsReadOnly;
        Condition = condition;
        _opened = opened;
        _isSharingAccepted = isSharingAccepted;
        _watches = watches;
        if (Journal.LostJournal is { } fault && !IsReadOnly)
        {
            LostWrites.Note(
                $"The process before did not end in order, and {fault}.{TellSetAside()} Tables of the image that it had not written went " +
                "with it.",
                reachesThisMachine: !Journal.IsLostWithSystem);
        }
    }

    /// <summary>The disk's name.</summary>
    public string Name { get; }

    /// <summary>The identity of this mount, by which a record of an earlier one is told.</summary>
    public Guid MountId { get; } = Guid.NewGuid();

    /// <summary>The image file, or the export's URI.</summary>
    public string Path { get; }

    /// <summary>True when others may write to the disk as well: it was mounted with -Shared, or from an export whose server says so,
    /// because it is a live disk there.</summary>
    public bool IsShared => _isSharingAccepted || Export is { IsTorn: true };

    /// <summary>How the user has had the image opened.</summary>
    internal ImageOpenOptions OpenedWith { get; }

    /// <summary>The image, or the export.</summary>
    internal IBlockNode Image => _opened.Node;

    /// <summary>The image's format; null for a node that is no image file.</summary>
    internal ImageFormat? Format => _opened.Format;

    /// <summary>The image's file before it was opened, which may have changed it; null for none.</summary>
    internal FileEvidence? FoundImage => _opened.Found;

    /// <summary>The first failed flush of the image's files, or the first write that the system could not store.</summary>
    internal StorageCondition Condition { get; }

    /// <summary>The journal, and the losses that a process before may have left to the disk's guests.</summary>
    internal LostWrites LostWrites { get; } = new();

    /// <summary>Why a killed process loses changes of the image's tables, as a part of a sentence; null where it does not.</summary>
    internal string? JournalFault => Journal.WhyNot;

    /// <summary>Warns of a journal that the disk was to have and has not; a whole sentence. Null for none.</summary>
    internal string? JournalWarning => Journal is { HasJournalFailed: true, WhyNot: { } fault }
        ? $"A kill of this process may lose guest writes that no flush has followed, and the disk's sessions: {fault.TrimEnd('.')}. With " +
          "that put right, an orderly end and a new start of the process, or another mount of the disk, makes the journal."
        : null;

    /// <summary>The losses that are as they are now, told or not; whole sentences.</summary>
    internal IEnumerable<string> Warnings => new[] { LostWrites.Warning, JournalWarning }.OfType<string>();

    /// <summary>Whether changes of the image's tables outlive the process.</summary>
    internal IJournaledImage Journal => ImageJournals.Of(Image, Format);

    /// <summary>True when the disk was opened with a folder of sessions, so that a later process expects the image's journal.</summary>
    internal bool HasSessionFolder { get; set; }

    /// <summary>The files below the image, as they were when it was opened.</summary>
    internal IReadOnlyList<ParentFile> Parents { get; set; } = [];

    /// <summary>Size of the disk in bytes.</summary>
    internal long SizeBytes { get; }

    /// <summary>Where the bytes end that can be anything but zeros: the disk's end, or less than a sector before it.</summary>
    internal long DataEndBytes => Image is PaddedNode padded ? padded.StoredBytes : SizeBytes;

    /// <summary>True when the disk refuses writes.</summary>
    internal bool IsReadOnly { get; }

    /// <summary>True when <see cref="Path"/> is a URI: the disk has no file on this machine, and nothing can lie beside it.</summary>
    internal bool IsExport => NbdUri.IsUri(Path);

    /// <summary>True when the disk's bitmaps survive the dismount: beside a file of this machine, or within an image that has room for
    /// them.</summary>
    internal bool KeepsBitmaps => !IsExport || (Image as IBitmapHolder)?.Bitmaps is { HasRoomForBitmaps: true };

    /// <summary>True when nothing changes the disk for as long as it is mounted: it is read-only here, and its image is locked against
    /// writers, or its server tells that nothing changes the export.</summary>
    internal bool IsUnchanging => IsReadOnly && !IsShared && (!IsExport || Export is not null);

    /// <summary>Where the disk's bytes come from, the same for each snapshot of one disk of a server: the image, or the URI of the disk's
    /// export.</summary>
    internal string SourceAddress => Export?.DiskUri(NbdUri.Parse(Path)).ToString() ?? Path;

    /// <summary>Why the disk's bitmaps can't be trusted when it is mounted again; null when they can. While it is mounted they are of use
    /// for what goes through that mount.</summary>
    internal string? SharedBitmapFault => IsShared
        ? "The disk was mounted with -Shared, and what others may have written to it meanwhile was not recorded."
        : null;

    /// <inheritdoc cref="OpenedStorage.Note"/>
    internal string? OpeningNote => _opened.Note;

    /// <summary>What the user should hear of an export that others may write to unnoticed; null for nothing.</summary>
    internal string? SharingNote =>
        !IsExport || Export is not null || _isSharingAccepted ? null
        : Format is not null && !IsReadOnly
        ? $"The server of '{Path}' can't tell whether other clients write to the export. No other may while this disk is mounted: two " +
          "that write to one image destroy it."
        : $"The server of '{Path}' can't tell whether other clients write to the export. No other may while this disk has sessions or " +
          "bitmaps: snapshots would show no one moment, and bitmaps would miss changes.";

    /// <summary>Does work that reads or writes the image on the calling thread, such as that on its bitmaps: on a thread of the image's
    /// own where it lies on an export.</summary>
    internal ValueTask<T> RunAsync<T>(Func<T> work) =>
        Image is ImageOnThreads image ? image.RunAsync(work) : new ValueTask<T>(work());

    /// <summary>Asks whether the system could store what the image's files have, and whether they are as long as they were; where not,
    /// that is as a failed flush. No guest has asked, so a loss of the system's is one to tell, also by a later process: the system
    /// tells it to no other.</summary>
    internal void FindLoss()
    {
        foreach (LossWatch watch in _watches)
        {
            bool isFirst = Condition.Failure is null;
            if (watch.Find() is { Kind: not BlockErrors.Truncated } failure && isFirst)
            {
                LostWrites.Note(failure.Message, reachesThisMachine: true, isLasting: true);
            }
        }
    }

    /// <summary>Asks no more.</summary>
    internal void EndWatches()
    {
        foreach (LossWatch watch in _watches)
        {
            watch.Dispose();
        }
    }

    /// <summary>Removes the journal of the image, which was closed in order.</summary>
    /// <param name="goesOn">True when a later process goes on with the disk. It has to see that the image was closed, and not that no
    /// journal is there, so that the journal stays.</param>
    internal void EndJournal(bool goesOn)
    {
        if (!goesOn && !IsReadOnly && !IsExport)
        {
            FailPoint.Reach("dismount-journal-not-removed");
            ImageJournals.RemoveClosed(Path);
        }
    }

    /// <summary>The disk's name.</summary>
    public override string ToString() => Name;

    /// <summary>Refuses work that a disk must not begin whose storage has lost writes.</summary>
    internal void CheckSound()
    {
        if (Condition.Failure is { } failure)
        {
            throw new BlockException(
                failure.Kind,
                $"The disk '{Name}' has failed, and what it shows may not be what its storage has. {failure.Message} Dismount the disk, " +
                "check the storage and the image, and mount it again.",
                Path,
                operation: failure.Operation,
                cause: failure);
        }
    }

    /// <summary>Refuses what would promise a point in time, or a record of all changes, that a shared disk can't have.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskShared"/>, unless the user has accepted that there is none.
    /// </exception>
    internal void CheckExclusive()
    {
        if (!IsShared || _isSharingAccepted)
        {
            return;
        }

        string rightWay = Export!.IsSnapshot
            ? $"'{Path}' is a snapshot of a disk to which others wrote while its session ran, so it shows no one moment. Start the " +
              "session in the one process through which all writes go."
            : $"'{Path}' is a live disk of another Fleece, and what others write there does not come through here. Start the session " +
              $"where the disk is served, with Start-FleeceSession, and " +
              (Format is { } format
                  ? "copy the image out of its snapshot, which holds the image as it was at that moment: " +
                    $"Convert-FleeceImage '{SnapshotUri()}' -SourceFormat {format}."
                  : $"read its snapshot: Read-FleeceSnapshot -Uri '{SnapshotUri()}'.");
        throw new BlockException(
            DiskErrors.DiskShared,
            $"The disk '{Name}' takes no sessions, bitmaps or backups: {rightWay} Mount-FleeceDisk -Shared allows sessions and full " +
            "backups whose point in time is not guaranteed.",
            Path);
    }

    /// <summary>A disk of an export was closed, and its server did not take all of it.</summary>
    internal BlockException LeftUnflushed(BlockException failure) => new(
        failure.Kind == BlockErrors.Closed ? BlockErrors.IoFailed : failure.Kind,
        $"The disk '{Name}' is dismounted, and the server may have lost what was written since the last flush that succeeded. " +
        $"{failure.Message} See that the server runs, " +
        (Format is { } format
            ? $"check the image with Test-FleeceImage '{Path}' -Format {format}, mount it, and write that again."
            : "mount the disk, and write that again."),
        Path,
        failure.OffsetBytes,
        failure.Operation,
        failure);

    private ExportIdentity? Export => _opened.Identity;

    private string TellSetAside()
    {
        string path = FileNames.Beside(Path, JournalLayout.Extension) + JournalOpening.SetAsideExtension;
        return File.Exists(path) ? $" It was set aside as '{path}'." : string.Empty;
    }

    private NbdUri SnapshotUri()
    {
        NbdUri uri = NbdUri.Parse(Path);
        return uri.WithExport($"{(uri.ExportName.Length == 0 ? Export!.DiskName : uri.ExportName)}/SESSION");
    }
}
