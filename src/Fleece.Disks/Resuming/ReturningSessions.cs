// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Temp;
using Fleece.Images;
using Fleece.Images.Chain;

namespace Fleece.Disks.Resuming;

/// <summary>A session of an earlier process that goes on in this one.</summary>
/// <param name="Stored">As it was found.</param>
/// <param name="Kept">Its log, which has stored already that it runs here.</param>
/// <param name="Maps">What is known of its granules.</param>
internal sealed record ReturningSession(StoredSession Stored, KeptSession Kept, PointInTimeMaps Maps);

/// <summary>How a mount treats sessions that can't go on now and could later, because something that they need is missing or in use.
/// </summary>
internal enum SessionHandling
{
    /// <summary>It is refused and has changed nothing.</summary>
    Resume,

    /// <summary>It serves the disk, and they are lost: guests come first.</summary>
    ResumeOrLose,

    /// <summary>It gives all sessions up, whatever they lack.</summary>
    Discard,
}

/// <summary>The sessions that earlier processes left on an image, as a mount finds them when it has locked the image and changed nothing.
/// </summary>
/// <remarks>
/// <para>Order. Which of them come back is decided, and stored in their logs, before the image is changed: opening it may replay a log, and
/// a mount that is killed then finds the same sessions again. Those that can't come back are lost when the image is open, so that a mount
/// that is refused loses none. The ends of others are finished when the mount has what they left of the disk's bitmaps; a mount that is
/// killed before finishes them the next time.</para>
/// <para>Threading. One thread, while the disk is being mounted. Ownership. It owns the logs of <see cref="Resumed"/>.</para>
/// </remarks>
/// <param name="folder">Where logs are; null resumes none.</param>
/// <param name="imagePath">Full path of the image.</param>
/// <param name="refusal">Why none of the image's sessions can come back, as a sentence; null when they can.</param>
/// <param name="handling">What becomes of sessions that can't come back now.</param>
internal sealed class ReturningSessions(SessionFolder? folder, string imagePath, string? refusal, SessionHandling handling)
{
    private readonly HashSet<Guid> _settledIds = [];
    private readonly List<ReturningSession> _resumed = [];
    private readonly List<(StoredSession Stored, StoredState? End)> _over = [];
    private readonly List<(FoundSession Found, ResumeVerdict Verdict)> _lost = [];
    private readonly List<string> _notes = [];
    private FileEvidence _image;
    private long _witnessTicks;
    private Heartbeat? _heartbeat;
    private volatile bool _hasSidecar;

    /// <summary>Those that the mount settles, by the ids of their logs, so that their names in the marker do not keep the image from being
    /// opened; filled by <see cref="Find"/>.</summary>
    public IReadOnlySet<Guid> SettledIds => _settledIds;

    /// <summary>Those that come back and do not run yet, in the order of their instants.</summary>
    public IReadOnlyList<ReturningSession> Resumed => _resumed;

    /// <summary>Those that were being stopped with success.</summary>
    public IEnumerable<SessionDescription> Succeeded =>
        _over.Where(over => over.End == StoredState.EndingSuccess).Select(over => over.Stored.Description!);

    /// <summary>Notes for the user about them; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Judges the sessions of the image, and stores of each that comes back that it runs here. A mount that is refused here has
    /// changed nothing.</summary>
    /// <exception cref="BlockException"><see cref="ImageErrors.ImageHasSession"/>: the mount would lose a session that waits for something.
    /// Or why the marker or a log can't be read.</exception>
    public void Find()
    {
        SessionMarker? marker = SessionMarker.Read(imagePath);
        _image = FileEvidence.Read(imagePath);
        _witnessTicks = Math.Max(_image.ModifiedTicks, marker?.ModifiedTicks ?? 0); // The marker's is that of temp too.
        if (handling == SessionHandling.Discard)
        {
            Discard(marker);
            return;
        }

        if (folder is null)
        {
            return;
        }

        foreach (FoundSession session in FoundSessions.In(folder, imagePath, marker))
        {
            Take(session, marker);
        }

        SessionMarker.Check(imagePath, _settledIds);
        FileNames.Delete(SessionMarker.PathFor(imagePath) + WholeFile.Partial); // Of a process that was killed while it wrote the marker.
        _resumed.Sort((left, right) => Nullable.Compare(left.Stored.StartedAt, right.Stored.StartedAt));
        foreach (ReturningSession session in _resumed)
        {
            StoreResumed(session);
        }
    }

    /// <summary>Stores of those that can't come back that they are lost, and takes them out of the marker. The image is open, and nothing
    /// was read from it or written to it for a guest.</summary>
    /// <remarks>A mount that is killed between <see cref="Find"/> and here leaves them to the next one, which judges them again.</remarks>
    /// <exception cref="BlockException">Why that can't be stored.</exception>
    public void StoreLost()
    {
        if (handling == SessionHandling.Discard)
        {
            SessionMarker.Check(imagePath, discards: true);
        }

        foreach ((FoundSession found, ResumeVerdict verdict) in _lost)
        {
            if (verdict.Step == ResumeStep.Lose)
            {
                found.Stored?.StoreLost(verdict.Reason!);
            }

            FailPoint.Reach("resume-lost");
            SessionMarker.RemoveEntry(imagePath, found.Id);
            NoteLost(found.Name, verdict.Reason!);
        }
    }

    /// <summary>One of those that come back runs, and owns its log.</summary>
    public void Take(ReturningSession session) => _resumed.Remove(session);

    /// <summary>Gives up one that was to come back.</summary>
    /// <param name="session">The session. Its point in time does not run, and its temp image is closed.</param>
    /// <param name="reason">Why; a whole sentence.</param>
    public void Lose(ReturningSession session, string reason)
    {
        _resumed.Remove(session);
        _settledIds.Remove(session.Stored.Id);
        session.Kept.Log.Dispose();
        session.Stored.StoreLost(reason);
        FailPoint.Reach("resume-lost");
        SessionMarker.RemoveEntry(imagePath, session.Stored.Id);
        NoteLost(session.Kept.Description.FullName, reason);
    }

    /// <summary>Gives up one that was to come back and lacks something that can come back too, where guests come first; else the mount is
    /// refused, and the session waits.</summary>
    /// <inheritdoc cref="Lose(ReturningSession, string)" path="/param"/>
    /// <exception cref="BlockException"><see cref="ImageErrors.ImageHasSession"/></exception>
    public void LoseOrRefuse(ReturningSession session, string reason)
    {
        if (handling != SessionHandling.ResumeOrLose)
        {
            throw Refused(session.Kept.Description.FullName, reason);
        }

        Lose(session, AtThisTime(reason));
    }

    /// <summary>Removes what is left of those that are over. The bitmaps have what they left.</summary>
    /// <exception cref="BlockException">Why the marker can't be changed. A later mount must not finish the same end once more, so there is
    /// none before that.</exception>
    public void RemoveOver()
    {
        foreach ((StoredSession session, _) in _over)
        {
            FailPoint.Reach("resume-before-removal");
            SessionMarker.RemoveEntry(imagePath, session.Id);
            try
            {
                if (Remove(session) is { } left)
                {
                    _notes.Add(left);
                }

                FailPoint.Reach("resume-removed");
            }
            catch (BlockException e)
            {
                string name = session.Description!.FullName;
                _notes.Add($"What is left of the session '{name}', which has ended, could not be removed. {e.Message}");
            }
        }
    }

    /// <summary>Notes the files beside the image that look like old data of its sessions, and that none of them has.</summary>
    public void NoteUnowned()
    {
        try
        {
            IReadOnlyList<MarkedSession> marked = SessionMarker.Read(imagePath)?.Sessions ?? [];
            _notes.AddRange(
                from kept in TempFiles.FindKept(Path.GetDirectoryName(imagePath)!, Path.GetFileName(imagePath))
                where !marked.Any(session => session.Id == kept.LogId)
                where folder is null || !File.Exists(folder.LogPathFor(kept.LogId))
                select $"'{kept.File}' looks like old data of a session that the image no longer has. Where Get-FleeceSession lists a " +
                    "lost session with this TempPath, Stop-FleeceSession -Force removes both; else delete the file by hand.");
        }
        catch (Exception e) when (e is BlockException || FileErrors.IsFromSystem(e))
        {
            // A folder that can't be listed has nothing to tell.
        }
    }

    /// <summary>The mount has ended: either the disk touches the files beside the image now, or the image is closed.</summary>
    public void EndTouching() => _heartbeat?.Dispose();

    /// <summary>Closes the logs as they were found, where the mount has failed.</summary>
    public void Abandon()
    {
        foreach (ReturningSession session in _resumed)
        {
            using SessionLog log = session.Kept.Log;
            try
            {
                // Suspended holds in another run of the system too, as long as the image is as it was left.
                if (session.Stored is { State: StoredState.Suspended, Evidence: { } evidence } && log.State == StoredState.Running &&
                    FileEvidence.Read(imagePath) == evidence.Image)
                {
                    log.Suspend(evidence);
                }
            }
            catch (BlockException)
            {
                // The failure that led here says more, and a session that is Running comes back in this run of the system.
            }
        }
    }

    /// <summary>Removes a session that does not run and that no marker names: its temp image where that was its own, and its log.</summary>
    /// <returns>Why something is left of it, for its user to delete; null when nothing is.</returns>
    /// <exception cref="BlockException">Why something can't be removed; the log is there until all else is gone.</exception>
    public static string? Remove(StoredSession session)
    {
        string? left = session.Description is null ? TempFiles.TellOrphan(folder: null, session.Id) : null;
        if (session.Description is { IsTempOwned: true, TempPath: var tempPath } description && Path.Exists(tempPath))
        {
            string? fault = TempFiles.FindOwnFault(tempPath, session.Id) ??
                (FileEvidence.Read(tempPath).FileId == description.TempFileId ? null : "another file has taken its name");
            left = fault is null ? null
                : $"'{tempPath}', which the log of the session '{description.FullName}' calls its old data, was not deleted: {fault}. " +
                    "Look whether it is of use, and delete it by hand.";
            if (fault is null)
            {
                FileNames.Delete(tempPath);
            }
        }

        session.Delete();
        return left;
    }

    private void Take(FoundSession found, SessionMarker? marker)
    {
        ResumeVerdict verdict = Judge(found, marker);
        switch (verdict.Step)
        {
            case ResumeStep.Resume:
                TakeOver(found);
                break;
            case ResumeStep.Wait when handling == SessionHandling.Resume:
                throw Refused(found.Name, verdict.Advice is null ? verdict.Reason! : $"{verdict.Reason} {verdict.Advice}");
            case ResumeStep.Wait:
                _lost.Add((found, new ResumeVerdict(ResumeStep.Lose, AtThisTime(verdict.Reason!))));
                break;
            case ResumeStep.FinishSuccess when found.IsMarked:
                _over.Add((found.Stored!, StoredState.EndingSuccess));
                break;
            case ResumeStep.FinishSuccess or ResumeStep.FinishFailure or ResumeStep.Undo:
                // One that the marker does not name has changed the bitmaps before, and others may have changed them since.
                _over.Add((found.Stored!, End: null));
                break;
            default:
                _lost.Add((found, verdict));
                break;
        }

        _settledIds.Add(found.Id);
    }

    private ResumeVerdict Judge(FoundSession found, SessionMarker? marker)
    {
        if (found.Stored is not { Description: { } description } stored)
        {
            string reason = FoundSessions.TellUnreadable(found, imagePath);
            return new ResumeVerdict(found.Stored is { IsUnreadable: true } ? ResumeStep.Wait : ResumeStep.Lose, reason);
        }

        FoundDisk disk = new(imagePath, _image, description.ImageFormat, description.DiskSizeBytes, marker);
        ResumeVerdict verdict = ResumeRules.Judge(stored, disk);
        return verdict.Step == ResumeStep.Resume && refusal is not null ? new ResumeVerdict(ResumeStep.Wait, refusal) : verdict;
    }

    // Sessions of another image are that one's, whichever marker names them.
    private void Discard(SessionMarker? marker)
    {
        IReadOnlyList<FoundSession> own = folder is null ? [] : FoundSessions.In(folder, imagePath, marker);
        foreach (FoundSession found in own.Concat(FoundSessions.Elsewhere(folder, marker)).DistinctBy(found => found.Id))
        {
            if (found.Stored is not { Fault: null, IsInUse: false, Description: { } description } stored)
            {
                string? temp = TempFiles.FindOrphan(Path.GetDirectoryName(imagePath), found.Id);
                _notes.Add(
                    $"The session '{found.Name}' was given up here. Its log '{found.LogPath}' is gone, damaged or another user's; where " +
                    "it is there, Stop-FleeceSession -Force removes what is left of the session." +
                    (temp is null ? "" : $" Where it is gone, delete the old data, '{temp}', by hand."));
            }
            else if (FindOtherImage(found, description) is { } other)
            {
                string? temp = TempFiles.FindOrphan(Path.GetDirectoryName(imagePath), found.Id);
                _notes.Add(
                    $"The log '{stored.Path}' of the session '{found.Name}' is left as it is. {other}" +
                    (temp is null ? "" : $" The session's old data is here: with that image gone for good, remove the session with " +
                    $"Stop-FleeceSession {PowerShellText.Argument(found.Name)} -Force, and then delete '{temp}' by hand."));
            }
            else
            {
                _over.Add((stored, End: null));
                _notes.Add($"The session '{found.Name}' was given up: its snapshot is gone, and its bitmaps lose nothing.");
            }
        }

        _settledIds.UnionWith(marker?.Sessions.Select(session => session.Id) ?? []);
    }

    // Others can write to a marker that leads to logs elsewhere.
    private string? FindOtherImage(FoundSession found, SessionDescription description) =>
        ResumeRules.FindOtherFile(description, imagePath, _image) ??
        (found.LogPath == folder?.LogPathFor(found.Id) ||
            SessionMarker.PathFor(description.ImagePath) == SessionMarker.PathFor(imagePath)
            ? null
            : $"It is of the image '{description.ImagePath}'.");

    private void TakeOver(FoundSession found)
    {
        if (found.Stored!.TakeOver(out string? fault) is var (log, maps))
        {
            _resumed.Add(new ReturningSession(found.Stored, new KeptSession(log, imagePath), maps));
        }
        else
        {
            _lost.Add((found, new ResumeVerdict(ResumeStep.Lose, $"Its log can't be used: {fault}.")));
        }
    }

    private void StoreResumed(ReturningSession session)
    {
        if (session.Stored.State == StoredState.Suspended)
        {
            ImageJournals.PutClosed(imagePath, session.Stored.Description!.ImageFormat);
        }

        // Opening the image is this process's doing too, and may take long: a journal is replayed.
        TouchMarker();
        _hasSidecar |= Sidecar.Claim(imagePath, _image);
        _heartbeat ??= Heartbeat.Start(Touch);
        FailPoint.Reach("resume-touched");
        FailPoint.Reach("resume-before-running");
        session.Kept.Log.StoreResumed();
        FailPoint.Reach("resume-running");
    }

    // Guests come first: without room for the stamp the session goes on, and is lost if the process is killed before there is room.
    private void TouchMarker()
    {
        try
        {
            SessionMarker.Touch(imagePath, _witnessTicks);
        }
        catch (BlockException e) when (e.Kind == BlockErrors.NoSpace)
        {
            _notes.Add($"A kill of this process may lose the sessions of the image for now. {e.Message}");
        }
    }

    private void Touch()
    {
        SessionMarker.TryTouch(imagePath, _witnessTicks);
        if (_hasSidecar)
        {
            FileNames.TryTouch(Sidecar.PathFor(imagePath), _witnessTicks);
        }
    }

    private void NoteLost(string name, string reason) =>
        _notes.Add($"The session '{name}' of an earlier process can't be resumed. {reason}");

    private BlockException Refused(string name, string reason) => new(
        ImageErrors.ImageHasSession,
        $"'{imagePath}' was not mounted, because its session '{name}' can't go on now and would be lost. {reason} Nothing was changed: " +
        $"with that put right the session goes on. To give it up, run Stop-FleeceSession {PowerShellText.Literal(name)} -Force. " +
        $"{SessionMarker.DiscardCommand(imagePath, name)} gives up all sessions of the image.",
        imagePath,
        operation: "open");

    private static string AtThisTime(string reason) => FormattableString.Invariant(
        $"The disk was served without it at {DateTimeOffset.UtcNow:u}, because guests come first. Then: {reason}");
}
