// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Block.Telemetry;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Resuming;
using Fleece.Disks.Temp;

namespace Fleece.Disks;

/// <summary>Goes on with the sessions that earlier processes began, on a disk that is being mounted.</summary>
/// <remarks>Threading. One thread, before the disk is served.</remarks>
internal static class SessionResume
{
    /// <summary>The turns of the sessions with the disk's bitmaps.</summary>
    public static IReadOnlyList<StoredTurn> TurnsOf(ReturningSessions sessions) =>
    [
        .. sessions.Resumed.Select(session => TurnOf(session.Kept.Description, TurnOutcome.GoesOn)),
        .. sessions.Succeeded.Select(session => TurnOf(session, TurnOutcome.Succeeded)),
    ];

    /// <summary>Puts the filter of each session over those of earlier ones. One that fails is given up, and its bitmaps are as after a
    /// session that was stopped without success.</summary>
    /// <exception cref="BlockException"><see cref="Images.ImageErrors.ImageHasSession"/>, where the mount is to wait for what one lacks.
    /// </exception>
    public static async ValueTask RunAsync(
        Disk disk, ReturningSessions sessions, Action<string>? checkPlace, CancellationToken cancellationToken)
    {
        foreach (ReturningSession session in sessions.Resumed.ToArray())
        {
            try
            {
                await ResumeAsync(disk, session, checkPlace, cancellationToken).ConfigureAwait(false);
                sessions.Take(session);
                FailPoint.Reach("resume-session");
            }
            catch (BlockException e)
            {
                if (IsPassing(e))
                {
                    sessions.LoseOrRefuse(session, e.Message);
                }
                else
                {
                    sessions.Lose(session, e.Message);
                }

                GiveUpBitmaps(disk, session);
            }
        }
    }

    // Temp was there and free when the session was judged; it, or room for it, may be back at the next mount.
    private static bool IsPassing(BlockException failure) => failure.Kind is
        BlockErrors.NotFound or BlockErrors.InUse or BlockErrors.PermissionDenied or BlockErrors.NoSpace or BlockErrors.IoFailed;

    private static async ValueTask ResumeAsync(
        Disk disk, ReturningSession session, Action<string>? checkPlace, CancellationToken cancellationToken)
    {
        SessionDescription description = session.Kept.Description;
        using WorkActivity activity = WorkActivity.Begin(
            "fleece.session.resume", ("disk", disk.Name), ("session", description.SessionName));
        TempImage temp = await TempImage.ReopenAsync(
            description.TempPath,
            description.TempFormat,
            description.IsTempOwned,
            description.TempReadsAsZero,
            checkPlace,
            cancellationToken).ConfigureAwait(false);
        try
        {
            if (FileEvidence.Read(temp.Path).FileId != description.TempFileId)
            {
                throw new BlockException(
                    BlockErrors.InUse, $"The temp image '{temp.Path}' was replaced while the session was being resumed.", temp.Path);
            }

            if (temp.Node.Geometry.LengthBytes < disk.Storage.DataEndBytes)
            {
                throw new BlockException(
                    BlockErrors.TempTooSmall,
                    $"The temp image '{temp.Path}' was cut or changed since the process before had it: it has " +
                    $"{temp.Node.Geometry.LengthBytes} bytes now, and had {disk.Storage.DataEndBytes} at least.",
                    temp.Path);
            }

            Session resumed = Make(disk, session, temp);

            // A kill between the note of a discard and the discard itself has left its data in temp.
            await resumed.Point.FreeConsumedAsync().ConfigureAwait(false);
            resumed.GoOn(session.Stored.StartedAt!.Value);
            activity.Succeed();
        }
        catch
        {
            // Kept, for the user to look at.
            await temp.Node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static Session Make(Disk disk, ReturningSession session, TempImage temp)
    {
        SessionDescription description = session.Kept.Description;
        BlockException? brokenBy = session.Stored.BrokenBy;
        session.Kept.Log.ImagePath = disk.Path;
        PointInTime point = new(
            disk.Chain.Tracking.Below,
            temp.Node,
            description.TempReadsAsZero,
            description.GranuleSizeBytes,
            description.OnCopyError,
            ranges: null,
            description.ToLimits(),
            description.Consumers,
            brokenBy is null ? session.Kept.Log : null,
            session.Maps,
            temp.KeptWriteFlags);
        session.Kept.Log.Follow(point.Maps);
        if (brokenBy is not null)
        {
            point.Break(brokenBy);
        }

        SessionTerms terms = new()
        {
            Name = description.SessionName,
            InstantId = description.InstantId,
            HasRanges = description.HasRanges,
            Kept = session.Kept,
            CannotResumeReason = temp.KeepFault,
        };
        BitmapTurn? turn = BitmapTurn.Resume(
            disk.Bitmaps, $"{disk.Name}/{description.SessionName}", TurnOf(description, TurnOutcome.GoesOn));
        return new Session(disk, terms, temp, point, turn);
    }

    private static void GiveUpBitmaps(Disk disk, ReturningSession session)
    {
        SessionDescription description = session.Kept.Description;
        if (BitmapTurn.Resume(disk.Bitmaps, description.SessionName, TurnOf(description, TurnOutcome.GoesOn)) is { } turn)
        {
            turn.End(isSuccess: false, instantId: null);
            if (turn.MergeSuccessor())
            {
                turn.Forget();
            }
        }
    }

    private static StoredTurn TurnOf(SessionDescription session, TurnOutcome outcome) => new(
        session.PinnedBitmap,
        session.NextBitmap,
        session.BaselineId,
        session.IsLimited,
        outcome,
        session.HasRanges ? null : session.InstantId);
}
