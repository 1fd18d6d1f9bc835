// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Finds out how a session has ended, and sees that this is how it was to end.</summary>
internal static class Endings
{
    /// <summary>A session is gone: its bitmaps say whether with success.</summary>
    public static async Task ApplyAsync(World world, SessionTruth session)
    {
        bool asked = session.EndsWithSuccess == true;
        bool? did = await FindOutAsync(world, session);
        if (did == true && !asked)
        {
            throw new Finding($"the session '{session.Id}' was not to end with success, and its bitmap counts from its instant");
        }

        // A job whose host was killed while it ended its session hears of neither.
        if (did == false && asked && !session.MayBreak && !session.IsJob)
        {
            throw new Finding($"the session '{session.Id}' was stopped with success, and its bitmap does not count from its instant");
        }

        if (did ?? asked)
        {
            session.Disk.Succeed(session);
        }
        else
        {
            session.Disk.Undo(session);
        }
    }

    // Null where the session has left no trace.
    private static async Task<bool?> FindOutAsync(World world, SessionTruth session)
    {
        if (session.Next is null)
        {
            return null;
        }

        IReadOnlyList<BitmapInfo> bitmaps = await world.Control.ListBitmapsAsync(session.Disk.Name);
        return session.Pinned is { } pinned
            ? bitmaps.Any(bitmap => bitmap.Name == pinned.Name && bitmap.BaselineId == session.InstantId)
            : bitmaps.Any(bitmap => bitmap.Name == session.NextName);
    }
}
