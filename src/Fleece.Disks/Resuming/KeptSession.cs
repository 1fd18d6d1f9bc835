// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Temp;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>The state that a running session keeps for the next process: its log, and its entry in the marker beside the image.</summary>
/// <remarks>
/// <para>The steps of a life, and what a killed process leaves behind at each:</para>
/// <code>
/// made       the log is Starting                              undone
/// marked     the marker names it, the log is Starting         undone
/// running    one store of the leader's log                    resumed
/// ending     one store, before guests write without copies    the end is finished
/// unmarked   bitmaps have changed; the marker names it no more  temp and log are removed
/// </code>
/// <para>Threading. One call at a time, under the lock of the disk's chain or while the disk is being mounted or closed; the journal is
/// its point in time's. Ownership. It owns the log.</para>
/// </remarks>
/// <param name="log">The log.</param>
/// <param name="imagePath">Where the image lies now, which may have been moved since the instant.</param>
internal sealed class KeptSession(SessionLog log, string imagePath)
{
    /// <summary>The log, for what the session itself stores.</summary>
    public SessionLog Log => log;

    /// <summary>Of the log.</summary>
    public Guid Id => log.Description.Id;

    /// <summary>The part of the session that never changes.</summary>
    public SessionDescription Description => log.Description;

    /// <summary>Where the point in time notes its changes.</summary>
    public ISessionJournal Journal => log;

    /// <summary>Stores the instant of several sessions, and last that it has come: one store of the leader's log decides for all.</summary>
    /// <param name="sessions">The sessions, the leader first.</param>
    /// <param name="instant">The instant.</param>
    /// <exception cref="BlockException">Why it can't be stored. No session has begun then.</exception>
    public static void StoreRunning(IReadOnlyList<KeptSession> sessions, DateTimeOffset instant)
    {
        foreach (KeptSession session in sessions)
        {
            session.Log.StoreInstant(instant);
        }

        try
        {
            foreach (KeptSession session in sessions)
            {
                FailPoint.Reach("start-before-running");
                session.Log.StoreState(StoredState.Running);
                FailPoint.Reach("start-running");
            }
        }
        catch
        {
            foreach (KeptSession session in sessions)
            {
                session.Log.StoreState(StoredState.Starting);
            }

            throw;
        }
    }

    /// <summary>Names the session in the marker beside its image.</summary>
    /// <param name="id">DISK/NAME, for messages.</param>
    public void Mark(string id) => SessionMarker.AddEntry(imagePath, new MarkedSession(Id, id, log.Path));

    /// <summary>Stores how the session ends, before it does. A log that can't be written to any more is removed: a session without one does
    /// not come back.</summary>
    public void StoreEnding(bool isSuccess)
    {
        FailPoint.Reach("stop-before-ending");
        StoreOrDelete(isSuccess ? StoredState.EndingSuccess : StoredState.EndingFailure);
        FailPoint.Reach("stop-ending");
    }

    /// <summary>Closes the temp image and the log for the next process: durably, and last of all, where the image was left in order; else
    /// as a killed process leaves them. A session whose temp image or log can't be stored breaks: either may have lost something.</summary>
    /// <param name="temp">The session's temp image.</param>
    /// <param name="image">How the image was left; null where something failed.</param>
    /// <exception cref="BlockException">Why the session can't go on, or goes on as after a kill.</exception>
    public async ValueTask SuspendAsync(TempImage temp, FileEvidence? image)
    {
        try
        {
            TouchMarker(temp, image);
            FailPoint.Reach("suspend-before-temp");
            await temp.LeaveAsync().ConfigureAwait(false);
            FailPoint.Reach("suspend-temp-left");
            if (image is not null)
            {
                log.Suspend(new SessionEvidence(image.Value, FileEvidence.Read(temp.Path)));
                FailPoint.Reach("suspend-stored");
            }
        }
        catch (BlockException e)
        {
            log.NoteBroken(e);
            throw;
        }
        finally
        {
            log.Dispose();
        }
    }

    // Closing temp changes it, and the disk touches nothing any more. That another program had the image meanwhile must not be hidden.
    private void TouchMarker(TempImage temp, FileEvidence? image)
    {
        try
        {
            if (image is { } left && FileEvidence.Read(imagePath) == left)
            {
                SessionMarker.Touch(imagePath, Math.Max(left.ModifiedTicks, FileEvidence.Read(temp.Path).ModifiedTicks));
            }
        }
        catch (BlockException)
        {
            // A marker that is older than temp is not believed.
        }
    }

    /// <summary>Takes the session out of the marker. Its bitmaps have changed, or never took their turn.</summary>
    /// <remarks>Before another session can begin with them: a later mount that found this one's log, its success and its name would finish
    /// the same end once more. Where the marker can't be changed the log says so itself, for it is what names temp until temp is gone; the
    /// mount then drops the name.</remarks>
    public void Unmark()
    {
        FailPoint.Reach("stop-before-unmark");
        try
        {
            SessionMarker.RemoveEntry(imagePath, Id);
        }
        catch (BlockException) when (log.State == StoredState.Starting)
        {
            // A mount undoes it, and leaves the bitmaps as they are.
        }
        catch (BlockException)
        {
            // A mount that finishes an end without success leaves the bitmaps as they are.
            StoreOrDelete(StoredState.EndingFailure);
        }

        FailPoint.Reach("stop-unmarked");
    }

    /// <summary>Removes the temp image, and the log as the last thing of a session: a process that is killed between the two leaves no old
    /// data that nothing names.</summary>
    /// <param name="temp">The session's temp image.</param>
    /// <param name="kept">What the session keeps; null for nothing.</param>
    /// <exception cref="BlockException">Why the temp image can't be removed. The log is left for a later mount to try again.</exception>
    public static async ValueTask RemoveAsync(TempImage temp, KeptSession? kept)
    {
        try
        {
            await temp.DisposeAsync().ConfigureAwait(false);
        }
        catch (BlockException)
        {
            kept?.Log.Dispose();
            throw;
        }

        FailPoint.Reach("temp-removed");
        kept?.Delete();
    }

    private void StoreOrDelete(StoredState state)
    {
        try
        {
            log.StoreState(state);
        }
        catch (BlockException)
        {
            FileNames.DeleteDurably(log.Path);
        }
    }

    private void Delete()
    {
        try
        {
            log.Delete();
        }
        catch (BlockException)
        {
            // No marker names it, and the next mount removes it.
            log.Dispose();
        }
    }
}
