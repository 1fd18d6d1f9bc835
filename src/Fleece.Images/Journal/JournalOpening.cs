// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Images.Journal;

/// <summary>The journal of one image that is being opened: the one that an earlier process has left, and the one that this opening keeps.
/// </summary>
/// <remarks>
/// <para>A journal that holds is replayed into an image that is opened for writing, and shown over one that is only read. One that does not
/// hold is left alone by a reader; a writer removes it when it is of another run of the system, and else sets it aside. The journal that an
/// opening keeps takes the place of the one before in one step, and says what became of that until the loss is settled.</para>
/// <para>Threading. One thread opens an image; <see cref="WhyNone"/>, <see cref="Touch"/> and <see cref="Watch"/>'s action from any thread
/// afterwards. Ownership. <see cref="Kept"/> is the image's.</para>
/// </remarks>
/// <param name="kept">The journal that the image keeps, for a caller that has made it; else <see cref="Keep"/> makes it.</param>
internal sealed class JournalOpening(ImageJournal? kept = null)
{
    internal const string SetAsideExtension = ".set-aside";

    private string? _refusal = "it was not opened to keep one";
    private string? _goneOn;
    private bool _isPlaceTaken;
    private bool _isUnmade;
    private bool _staysClosed;
    private FoundJournal? _replaying;

    /// <summary>The journal that the format's tables note their changes in; null for none.</summary>
    public ImageJournal? Kept { get; private set; } = kept;

    /// <summary>Why the image has no journal, as a part of a sentence; null while it has one.</summary>
    public string? WhyNone => Kept is null ? _refusal : Kept.WhyGivenUp;

    /// <summary>As <see cref="IJournaledImage.HasJournalFailed"/>.</summary>
    public bool HasFailed => Kept is null ? _isUnmade : Kept.WhyGivenUp is not null;

    /// <summary>As <see cref="IJournaledImage.LostJournal"/>.</summary>
    public string? LostJournal { get; private set; }

    /// <summary>As <see cref="IJournaledImage.MissingJournal"/>.</summary>
    public string? MissingJournal { get; private set; }

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
    /// <param name="keeps">True for an opener that calls <see cref="Keep"/> next: what lies there stays until the new journal takes its
    /// place, so that a process that is killed between leaves the same to the next opener.</param>
    /// <returns>The image to read: the file, or what shows the notes over it.</returns>
    /// <exception cref="BlockException">Why the replay failed: the journal stays, and the next opening replays it again.</exception>
    public IContainerFile Recover(LocalContainer file, ImageFormat format, INoteReplay? replay, bool keeps = false)
    {
        if (replay is null)
        {
            return file;
        }

        string path = PathBeside(file);
        if (!file.IsReadOnly)
        {
            FileNames.TryDelete(path + WholeFile.Partial); // Of a process that was killed while it made one.
        }

        FoundJournal found = new(path);
        string? fault = File.Exists(path) ? found.Read() ?? Judge(found, file, format, replay) : null;
        _isPlaceTaken = found.IsInUse;
        if (fault is null || found.IsInUse)
        {
            FindLossBefore(found, path, file);
        }

        if (found.IsInUse)
        {
            return file;
        }

        if (fault is not null)
        {
            LostJournal = $"the journal '{path}' does not hold: {fault}";
            IsLostWithSystem = found.IsOfOtherRun;
            if (keeps)
            {
                found.CopyAside($"{path}{SetAsideExtension}");
                FailPoint.Reach("image-journal-lost");
            }
            else if (!file.IsReadOnly)
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

        if (!keeps && found.Stored is { State: not JournalState.Closed })
        {
            found.Close();
        }

        return file;
    }

    /// <summary>Makes the journal that the image keeps from now on, or tells why there is none.</summary>
    /// <param name="file">The image, open for writing, behind <see cref="Recover"/>.</param>
    /// <param name="format">Its format.</param>
    /// <param name="staysClosed">True to have it stay beside the image when that is closed in order, and say so.</param>
    public void Keep(LocalContainer file, ImageFormat format, bool staysClosed)
    {
        string path = PathBeside(file);
        _staysClosed = staysClosed;
        if (_isPlaceTaken)
        {
            _isUnmade = true;
            _refusal = $"a program has '{path}' open, which is the journal of an image that had this one's name";
            return;
        }

        try
        {
            if (BootId.Current != Guid.Empty)
            {
                Kept = ImageJournal.Create(path, format, FileEvidence.Read(file.Path).FileId, Loss);
                return;
            }

            _refusal = "nothing tells here whether the system has been started anew since";
        }
        catch (BlockException failure)
        {
            _isUnmade = true;
            _refusal = $"the journal beside it can't be made: {failure.Message}";
        }

        if (File.Exists(path))
        {
            _goneOn = path;
            new FoundJournal(path).GiveUp();
        }
    }

    /// <summary>Closes the journal of an image that has been closed in order.</summary>
    public void Close()
    {
        if (Kept is null)
        {
            if (_goneOn is not null && !(_staysClosed && LostJournal is null && new FoundJournal(_goneOn).TryClose()))
            {
                FileNames.TryDelete(_goneOn);
            }
        }
        else if (_staysClosed)
        {
            Kept.Close();
        }
        else
        {
            Kept.Remove();
        }
    }

    /// <summary>As <see cref="Close"/>, for an image that could not be opened: where no journal lay beside it, none does.</summary>
    public void Undo()
    {
        if (Kept is not null && MissingJournal is not null)
        {
            Kept.Remove();
        }
        else
        {
            Close();
        }
    }

    /// <summary>As <see cref="IJournaledImage.SettleLoss"/>.</summary>
    public void SettleLoss() => Kept?.SettleLoss();

    /// <summary>Takes the journal away from an image that can't keep one, or needs none.</summary>
    /// <param name="why">Why, as a part of a sentence.</param>
    public void Refuse(string why)
    {
        Kept?.Remove();
        Kept = null;
        _refusal = why;
    }

    /// <summary>As <see cref="IJournaledImage.Touch"/>.</summary>
    public void Touch(long notBeforeTicks) => Kept?.Touch(notBeforeTicks);

    /// <summary>Removes the journal of an image beside a new file of its name.</summary>
    public static void RemoveBeside(string imagePath)
    {
        FoundJournal found = new(imagePath + JournalLayout.Extension);
        _ = found.Read();
        if (!found.IsInUse)
        {
            FileNames.TryDelete(imagePath + JournalLayout.Extension);
            FileNames.TryDelete(imagePath + JournalLayout.Extension + WholeFile.Partial);
        }
    }

    /// <summary>Removes the journal that an image which was closed in order has left, unless it has a loss to tell of.</summary>
    public static void RemoveClosed(string imagePath)
    {
        string path = FileNames.Beside(imagePath, JournalLayout.Extension);
        FoundJournal found = new(path);
        if (File.Exists(path) && found.Read() is null && found.Stored is { State: JournalState.Closed, Loss: JournalLoss.None })
        {
            FileNames.TryDelete(path);
        }
    }

    /// <summary>Puts a journal beside an image that says that it was closed in order, where none is that counts: from now on one has to be
    /// there. The caller knows that the image was closed in order, and has it locked.</summary>
    public static void PutClosed(string imagePath, ImageFormat format)
    {
        string path = FileNames.Beside(imagePath, JournalLayout.Extension);
        FoundJournal found = new(path);
        if (BootId.Current == Guid.Empty || JournalLayout.FormatNumber(format) == 0 ||
            (File.Exists(path) && (found.Read() is not null || found is { IsOfOtherRun: false, Stored: not null })))
        {
            return;
        }

        try
        {
            using ImageJournal journal =
                ImageJournal.Create(path, format, FileEvidence.Read(imagePath).FileId, fileBytes: JournalLayout.HeaderBytes);
            journal.Close();
        }
        catch (BlockException)
        {
            return; // The disk tells that its image keeps no journal.
        }
    }

    private JournalLoss Loss =>
        LostJournal is not null ? (IsLostWithSystem ? JournalLoss.LostWithSystem : JournalLoss.Lost)
        : MissingJournal is not null ? JournalLoss.Missing
        : JournalLoss.None;

    // One of another image, or a copy, says nothing of this one; a closed one was not judged by that.
    private void FindLossBefore(FoundJournal found, string path, LocalContainer file)
    {
        if (found is not { IsInUse: false, Stored: { } stored } || stored.OwnFileId != found.FileId ||
            stored.FileId != FileEvidence.Read(file.Path).FileId || stored.Loss == JournalLoss.Missing)
        {
            MissingJournal = $"the journal '{path}' is gone, or was put there from elsewhere";
        }
        else if (stored.Loss != JournalLoss.None)
        {
            LostJournal = $"the journal '{path}' follows one that did not hold, and the process between ended while it was being opened";
            IsLostWithSystem = stored.Loss == JournalLoss.LostWithSystem;
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
            _ when stored.OwnFileId != found.FileId => "it is a copy, and the image may have gone on since it was made",
            _ when stored.FormatNumber != JournalLayout.FormatNumber(format) => "it is of an image of another format",
            _ when image.IsChangedAfter(found.ModifiedTicks) => "the image was changed later than it",
            _ => null,
        };
        return fault ?? (stored.Notes.Generations.Count == 0 ? null : replay.FindChange(file, stored));
    }
}
