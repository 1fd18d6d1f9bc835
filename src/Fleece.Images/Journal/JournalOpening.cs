// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Images.Journal;

/// <summary>The journal of one image that is being opened: the one that an earlier process has left, and the one that this opening keeps.
/// </summary>
/// <remarks>
/// <para>A journal that holds is replayed into an image that is opened for writing, and shown over one that is only read. One that does not
/// hold is left alone by a reader; a writer removes it when it is of another run of the system, and else sets it aside.</para>
/// <para>Threading. One thread opens an image; <see cref="WhyNone"/>, <see cref="Touch"/> and <see cref="Watch"/>'s action from any thread
/// afterwards. Ownership. <see cref="Kept"/> is the image's.</para>
/// </remarks>
/// <param name="kept">The journal that the image keeps, for a caller that has made it; else <see cref="Keep"/> makes it.</param>
internal sealed class JournalOpening(ImageJournal? kept = null)
{
    private const string SetAsideExtension = ".set-aside";

    private string? _refusal = "it was not opened to keep one";
    private FoundJournal? _replaying;

    /// <summary>The journal that the format's tables note their changes in; null for none.</summary>
    public ImageJournal? Kept { get; private set; } = kept;

    /// <summary>Why the image has no journal, as a part of a sentence; null while it has one.</summary>
    public string? WhyNone => Kept is null ? _refusal : Kept.WhyGivenUp;

    /// <summary>As <see cref="IJournaledImage.LostJournal"/>.</summary>
    public string? LostJournal { get; private set; }

    /// <summary>As <see cref="IJournaledImage.IsLostWithSystem"/>.</summary>
    public bool IsLostWithSystem { get; private set; }

    /// <summary>Hears of the image's first failed flush, and of its data file's: the storage may have lost what notes lead to.
    /// </summary>
    /// <param name="flushFailed">Hears of it too; null for nothing else.</param>
    public Action<BlockException> Watch(Action<BlockException>? flushFailed) => failure =>
    {
        Kept?.GiveUp(JournalState.FlushFailed, $"a flush of it has failed: {failure.Message}");
        _replaying?.Spoil();
        flushFailed?.Invoke(failure);
    };

    /// <summary>Deals with the journal that lies beside an image.</summary>
    /// <param name="file">The image, open and locked.</param>
    /// <param name="format">Its format.</param>
    /// <param name="replay">Brings notes into it; null for a format that has no journal.</param>
    /// <returns>The image to read: the file, or what shows the notes over it.</returns>
    /// <exception cref="BlockException">Why the replay failed: the journal stays, and the next opening replays it again.</exception>
    public IContainerFile Recover(LocalContainer file, ImageFormat format, INoteReplay? replay)
    {
        string path = PathBeside(file);
        if (replay is null || !File.Exists(path))
        {
            return file;
        }

        FoundJournal found = new(path);
        string? fault = found.Read() ?? Judge(found, file, format, replay);
        if (found.IsInUse)
        {
            return file;
        }

        if (fault is not null)
        {
            LostJournal = $"the journal '{path}' does not hold: {fault}";
            IsLostWithSystem = found.Stored is { Fault: null } lost && !BootId.IsThisRun(lost.BootId);
            if (!file.IsReadOnly)
            {
                found.SetAside($"{path}{SetAsideExtension}");
            }

            return file;
        }

        JournalNotes? notes = found.Stored?.Notes;
        bool hasNotes = notes is { Generations.Count: > 0 };
        if (file.IsReadOnly)
        {
            return hasNotes ? replay.Show(file, notes!) : file;
        }

        if (hasNotes)
        {
            _replaying = found;
            FailPoint.Reach("image-journal-found");
            using (Heartbeat.Start(found.TryTouch))
            {
                found.BeginReplay();
                replay.Replay(file, notes!, found.Touch);
            }

            _replaying = null;
            FailPoint.Reach("image-replayed-journal-not-removed");
        }

        found.Remove();
        return file;
    }

    /// <summary>Makes the journal that the image keeps from now on, or tells why there is none.</summary>
    /// <param name="file">The image, open for writing, behind <see cref="Recover"/>.</param>
    /// <param name="format">Its format.</param>
    public void Keep(LocalContainer file, ImageFormat format)
    {
        if (BootId.Current == Guid.Empty)
        {
            _refusal = "nothing tells here whether the system has been started anew since";
            return;
        }

        try
        {
            Kept = ImageJournal.Create(PathBeside(file), format, FileEvidence.Read(file.Path).FileId);
        }
        catch (BlockException failure)
        {
            _refusal = $"the journal beside it can't be made: {failure.Message}";
        }
    }

    /// <summary>Takes the journal away from an image that can't keep one, or needs none.</summary>
    /// <param name="why">Why, as a part of a sentence.</param>
    public void Refuse(string why)
    {
        Kept?.Remove();
        Kept = null;
        _refusal = why;
    }

    /// <summary>As <see cref="IJournaledImage.Touch"/>.</summary>
    public void Touch() => Kept?.Touch();

    /// <summary>Removes the journal of an image beside a new file of its name.</summary>
    public static void RemoveBeside(string imagePath)
    {
        FoundJournal found = new(imagePath + JournalLayout.Extension);
        _ = found.Read();
        if (!found.IsInUse)
        {
            FileNames.TryDelete(imagePath + JournalLayout.Extension);
        }
    }

    // Whichever link leads to the image.
    private static string PathBeside(LocalContainer file) => file.File.Place + JournalLayout.Extension;

    private static string? Judge(FoundJournal found, LocalContainer file, ImageFormat format, INoteReplay replay)
    {
        if (found.Stored is not { State: not JournalState.Closed } stored)
        {
            return null;
        }

        FileEvidence image = FileEvidence.Read(file.Path);
        string? fault = stored switch
        {
            _ when !BootId.IsThisRun(stored.BootId) => "it is of an earlier run of the system, and counts in that one only",
            { State: JournalState.GivenUp } => "its process gave it up",
            { State: JournalState.FlushFailed } => "a flush of the image failed, so what it leads to may be lost",
            { State: not (JournalState.Kept or JournalState.Replaying) } => "its state is unknown to this program",
            _ when stored.FileId != image.FileId => "it is of another file",
            _ when stored.FormatNumber != JournalLayout.FormatNumber(format) => "it is of an image of another format",
            _ when image.IsChangedAfter(found.ModifiedTicks) => "the image was changed later than it",
            _ => null,
        };
        return fault ?? (stored.Notes.Generations.Count == 0 ? null : replay.FindChange(file, stored));
    }
}
