// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>A session of an earlier process that goes on in this one.</summary>
/// <param name="Stored">As it was found.</param>
/// <param name="Kept">Its log, which has stored already that it runs here.</param>
/// <param name="Maps">What is known of its granules.</param>
internal sealed record ReturningSession(StoredSession Stored, KeptSession Kept, PointInTimeMaps Maps);

/// <summary>The sessions that earlier processes left on an image, as a mount finds them when it has locked the image and changed nothing.
/// </summary>
/// <remarks>
/// <para>Order. Which of them come back is decided, and stored in their logs, before the image is changed: opening it may replay a log, and
/// a mount that is killed then finds the same sessions again. The ends of others are finished when the mount has what they left of the
/// disk's bitmaps; a mount that is killed before finishes them the next time.</para>
/// <para>Threading. One thread, while the disk is being mounted. Ownership. It owns the logs of <see cref="Resumed"/>.</para>
/// </remarks>
/// <param name="folder">Where logs are; null resumes none.</param>
/// <param name="imagePath">Full path of the image.</param>
/// <param name="refusal">Why none of the image's sessions can come back, as a sentence; null when they can.</param>
/// <param name="discards">True to give all of them up.</param>
internal sealed class ReturningSessions(SessionFolder? folder, string imagePath, string? refusal, bool discards)
{
    private readonly HashSet<Guid> _settledIds = [];
    private readonly List<ReturningSession> _resumed = [];
    private readonly List<(StoredSession Stored, StoredState? End)> _over = [];
    private readonly List<string> _notes = [];
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

    /// <summary>Judges the sessions of the image, and stores of each that comes back that it runs here.</summary>
    /// <exception cref="BlockException">Why the marker or a log can't be read.</exception>
    public void Find()
    {
        if (discards)
        {
            FindElsewhere();
        }

        if (folder is null)
        {
            return;
        }

        FileNames.Delete(SessionMarker.PathFor(imagePath) + WholeFile.Partial); // Of a process that was killed while it wrote the marker.
        SessionMarker? marker = SessionMarker.Read(imagePath);
        FileEvidence image = FileEvidence.Read(imagePath);
        HashSet<Guid> seen = [];
        foreach (StoredSession session in folder.FindByImage(imagePath))
        {
            seen.Add(session.Id);
            Take(session, marker, image);
        }

        foreach (MarkedSession marked in marker?.Sessions ?? [])
        {
            if (!seen.Contains(marked.Id) && marked.LogPath == folder.LogPathFor(marked.Id))
            {
                // Its log can't be read, or names the image as it was called before it was moved.
                StoredSession? session = folder.Find(marked.Id);
                if (session is { Fault: null, IsInUse: false })
                {
                    Take(session, marker, image);
                }
                else
                {
                    TakeUnreadable(session, marked);
                }
            }
        }

        _resumed.Sort((left, right) => Nullable.Compare(left.Stored.StartedAt, right.Stored.StartedAt));
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
        Lose(session.Stored, reason);
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
                Remove(session);
                FailPoint.Reach("resume-removed");
            }
            catch (BlockException e)
            {
                _notes.Add($"What is left of the session '{NameOf(session)}', which has ended, could not be removed. {e.Message}");
            }
        }
    }

    /// <summary>The mount has ended: either the disk touches the files beside the image now, or the image is closed.</summary>
    public void EndTouching() => _heartbeat?.Dispose();

    /// <summary>Closes the logs as they are, where the mount has failed.</summary>
    public void Abandon()
    {
        foreach (ReturningSession session in _resumed)
        {
            session.Kept.Log.Dispose();
        }
    }

    /// <summary>Removes a session that does not run: from its image's marker, its temp image where that was its own, and its log.</summary>
    /// <exception cref="BlockException">Why something can't be removed; the log is there until all else is gone.</exception>
    public static void Remove(StoredSession session)
    {
        if (session.Description is { } description)
        {
            SessionMarker.RemoveEntry(description.ImagePath, session.Id);
            if (description.IsTempOwned && File.Exists(description.TempPath) &&
                FileEvidence.Read(description.TempPath).FileId == description.TempFileId)
            {
                FileNames.Delete(description.TempPath);
            }
        }

        session.Delete();
    }

    private void Take(StoredSession session, SessionMarker? marker, FileEvidence image)
    {
        if (discards)
        {
            _over.Add((session, End: null));
            return;
        }

        SessionDescription description = session.Description!;
        FoundDisk disk = new(imagePath, image, description.ImageFormat, description.DiskSizeBytes, marker);
        ResumeVerdict verdict = ResumeRules.Judge(session, disk);
        bool isMarked = marker?.Sessions.Any(marked => marked.Id == session.Id) == true;
        switch (verdict.Step)
        {
            case ResumeStep.Resume when refusal is null:
                Resume(session, image);
                break;
            case ResumeStep.FinishSuccess when isMarked:
                AddOver(session, StoredState.EndingSuccess);
                break;
            case ResumeStep.FinishSuccess or ResumeStep.FinishFailure or ResumeStep.Undo:
                // One that the marker does not name has changed the bitmaps before, and others may have changed them since.
                AddOver(session, end: null);
                break;
            default:
                Lose(session, verdict.Reason ?? refusal!);
                break;
        }
    }

    // Others can write to a marker, so it leads to logs in folders of this user's alone. A session that stays elsewhere is lost there.
    private void FindElsewhere()
    {
        foreach (MarkedSession marked in SessionMarker.Read(imagePath)?.Sessions ?? [])
        {
            try
            {
                string? place = Path.GetDirectoryName(marked.LogPath);
                if (place != folder?.Path && Directory.Exists(place) && SessionFolder.Open(place) is var other &&
                    marked.LogPath == other.LogPathFor(marked.Id) &&
                    other.Find(marked.Id) is { Fault: null, IsInUse: false, Description: { } description } session &&
                    SessionMarker.PathFor(description.ImagePath) == SessionMarker.PathFor(imagePath))
                {
                    _over.Add((session, End: null));
                }
            }
            catch (BlockException)
            {
                // Another user's.
            }
        }
    }

    private void AddOver(StoredSession session, StoredState? end)
    {
        _over.Add((session, end));
        _settledIds.Add(session.Id);
    }

    private void Resume(StoredSession session, FileEvidence image)
    {
        // Opening the image is this process's doing too, and may take long: a journal is replayed.
        SessionMarker.Touch(imagePath);
        _hasSidecar |= Sidecar.Claim(imagePath, image);
        _heartbeat ??= Heartbeat.Start(Touch);
        FailPoint.Reach("resume-touched");
        if (session.TakeOver(out string? fault) is not var (log, maps))
        {
            Lose(session, $"Its log can't be used: {fault}.");
            return;
        }

        try
        {
            FailPoint.Reach("resume-before-running");
            log.StoreResumed();
            FailPoint.Reach("resume-running");
        }
        catch
        {
            log.Dispose();
            throw;
        }

        _resumed.Add(new ReturningSession(session, new KeptSession(log, imagePath), maps));
        _settledIds.Add(session.Id);
    }

    private void Touch()
    {
        FileNames.TryTouch(SessionMarker.PathFor(imagePath));
        if (_hasSidecar)
        {
            FileNames.TryTouch(Sidecar.PathFor(imagePath));
        }
    }

    private void Lose(StoredSession session, string reason)
    {
        session.StoreLost(reason);
        FailPoint.Reach("resume-lost");
        SessionMarker.RemoveEntry(imagePath, session.Id);
        _notes.Add($"The session '{NameOf(session)}' of an earlier process can't be resumed. {reason}");
    }

    // The log of a newer Fleece keeps the image from being written to here.
    private void TakeUnreadable(StoredSession? session, MarkedSession marked)
    {
        if (session is null or { Fault: not null, IsNewer: false, IsInUse: false })
        {
            SessionMarker.RemoveEntry(imagePath, marked.Id);
            _notes.Add(
                $"The session '{PrintableText.Of(marked.Name)}' of an earlier process can't be resumed. Its log '{marked.LogPath}' " +
                (session is null ? "is gone." : $"can't be used: {session.Fault}."));
        }
    }

    private static string NameOf(StoredSession session) =>
        session.Description is { } description ? $"{description.DiskName}/{description.SessionName}" : session.Id.ToString();
}
