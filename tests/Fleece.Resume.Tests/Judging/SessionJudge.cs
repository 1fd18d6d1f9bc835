// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Compares the sessions that came back with those that should.</summary>
internal static class SessionJudge
{
    /// <summary>Judges the list, and settles what was in flight by it.</summary>
    public static async Task JudgeListAsync(World world, string when)
    {
        Dictionary<string, SessionInfo> found = (await world.ListSessionsAsync()).ToDictionary(info => info.Id);
        foreach (SessionTruth session in world.Sessions)
        {
            if (found.Remove(session.Id, out SessionInfo? info))
            {
                JudgeFound(session, info, when);
            }
            else
            {
                await JudgeMissingAsync(world, session, when);
            }
        }

        if (found.Count != 0)
        {
            SessionInfo other = found.Values.First();
            throw new Finding(
                $"{when}: the session '{other.Id}' is there, and it was stopped or never started; it is {other.State}: {other.BrokenBy}");
        }
    }

    /// <summary>Judges the snapshots of the sessions that are there.</summary>
    public static async Task JudgeSnapshotsAsync(World world, string when)
    {
        foreach (WorldDisk disk in world.Disks)
        {
            foreach (SessionTruth session in disk.Truth.Sessions.Where(session => session is { IsBroken: false, IsLost: false }).ToArray())
            {
                try
                {
                    await Snapshots.JudgeAsync(disk, session, when);
                }
                catch (BlockException e) when (!Losses.IsLoss(e))
                {
                    throw new Finding($"{when}: the snapshot '{session.Id}' can't be read: {e.Kind}: {e.Message}");
                }
            }
        }
    }

    private static void JudgeFound(SessionTruth session, SessionInfo info, string when)
    {
        if (session.IsStarting)
        {
            if (session.IsJob)
            {
                throw new Finding($"{when}: the session '{session.Id}' of a job has outlived its host");
            }

            if (session.Start.Any(other => other.Disk.Sessions.TrueForAll(here => here != other)))
            {
                throw new Finding($"{when}: the session '{session.Id}' is there, and another one of the same start is not");
            }

            session.Disk.Confirm(session, info);
        }

        if (info.InstantId != session.InstantId)
        {
            throw new Finding($"{when}: the session '{session.Id}' has the instant {info.InstantId}; it was {session.InstantId}");
        }

        session.EndsWithSuccess = null;
        session.IsLost = info.State == SessionState.Lost;
        bool isBroken = info.State == SessionState.Broken;
        if (session.IsBroken && !isBroken && !session.IsLost)
        {
            throw new Finding($"{when}: the session '{session.Id}' was broken and is {info.State}");
        }

        if ((isBroken || session.IsLost) && !session.IsBroken && !session.MayBreak)
        {
            throw new Finding($"{when}: the session '{session.Id}' is {info.State}: {info.BrokenBy}");
        }

        session.IsBroken = isBroken;
    }

    private static async Task JudgeMissingAsync(World world, SessionTruth session, string when)
    {
        if (session.EndsWithSuccess is not null)
        {
            await Endings.ApplyAsync(world, session);
        }
        else if (session.IsStarting)
        {
            if (session.Start.Any(other => !other.IsStarting))
            {
                throw new Finding($"{when}: the session '{session.Id}' is not there, and another one of the same start is");
            }

            session.Disk.Undo(session);
        }
        else if (session.CanResume)
        {
            throw new Finding($"{when}: the session {session.Describe()} is gone");
        }
        else
        {
            session.Disk.Undo(session);
        }
    }
}
